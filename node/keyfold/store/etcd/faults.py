"""What an error of etcd means for the request: surely not done, or perhaps done.

The texts are those of etcd's `api/v3rpc/rpctypes/error.go`. An error that is not listed here is taken as "perhaps
done", which is never wrong.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum, auto

from keyfold.errors import KeyfoldError
from keyfold.store.errors import Compacted, StoreFull, TooLarge


class Verdict(Enum):
    NOT_DONE = auto()  # surely not done; another endpoint or a later moment may do it
    UNKNOWN = auto()  # perhaps done
    LEASE_GONE = auto()  # surely not done, because the lease does not exist
    FINAL = auto()  # surely not done, and asking again would not help: `error`


@dataclass(frozen=True, slots=True)
class Fault:
    verdict: Verdict
    reason: str
    error: KeyfoldError | None = None


# Raised before a proposal is made, or by the rule that would have applied it.
_NOT_DONE = (
    "etcdserver: no leader",
    "etcdserver: too many requests",
    "raft proposal dropped",
    "not a primary lessor",
    "etcdserver: corrupt cluster",
    "etcdserver: unhealthy cluster",
    "etcdserver: rpc not supported for learner",
)
_DENIED = (
    "permission denied",
    "user name is empty",
    "invalid auth token",
    "authentication failed",
    "invalid user ID or password",
)


def fault(endpoint: str, status: int, body: bytes) -> Fault:
    """Read an answer that is not a success. `body` is a gateway error, or anything a server says in its place."""
    try:
        answer = json.loads(body)
        message = str(answer.get("message") or answer["error"])
    except (ValueError, KeyError, AttributeError):
        return Fault(Verdict.UNKNOWN, f"HTTP status {status} without an etcd error")
    if any(text in message for text in _NOT_DONE):
        return Fault(Verdict.NOT_DONE, message)
    if "lease not found" in message:
        return Fault(Verdict.LEASE_GONE, message)
    final = _final(endpoint, message)
    return Fault(Verdict.UNKNOWN if final is None else Verdict.FINAL, message, final)


def _final(endpoint: str, message: str) -> KeyfoldError | None:
    if "database space exceeded" in message:
        return StoreFull(endpoint)
    if "has been compacted" in message:
        return Compacted(0)
    if "too many operations" in message or "request is too large" in message:
        return TooLarge(f"etcd ({endpoint}) answered: {message}")
    if any(text in message for text in _DENIED):
        return KeyfoldError(
            "denied",
            f"etcd ({endpoint}) denied access: {message}",
            not_done="the request was not carried out",
            next_step="check this node's etcd certificate and etcd's users, then run playbooks/site.yml",
        )
    if "future revision" in message:
        return KeyfoldError(
            "not_found",
            f"etcd ({endpoint}) has not reached the revision that was asked for",
            not_done="nothing was read",
            next_step="keyfold status; if etcd was restored from an older snapshot, restart keyfold-agent",
        )
    return None
