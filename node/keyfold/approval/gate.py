"""The gate in front of dangerous things: enough officers signed exactly this, now, and it was not used before.

`Gate.check` answers with what to add to the caller's transaction, so that an approval is used once, atomically with
what it approves, and counts only if the officers are still the same at that instant.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.approval import officers as officers_
from keyfold.approval.officers import Officers
from keyfold.approval.request import Request, mismatches, parse
from keyfold.approval.ssh_keygen import SshKeygen
from keyfold.approval.verify import MAX_SIGNATURE_BYTES, NAMESPACE, SignatureVerifier, Tally, tally
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.replication import keys
from keyfold.store.interface import Op, Put, Store, Unchanged

_NOTHING = "nothing was approved or changed"
Approval = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Granted:
    """Add `compares` and `ops` to the transaction that does what was approved.

    If what was approved takes several transactions, put them into the first, and `finished` into the last: `check` with
    `resume` then lets an interrupted run go on under the same approval.
    """

    officers: tuple[str, ...]
    request_id: str
    request: Request
    compares: tuple[Unchanged, ...]
    ops: tuple[Op, ...]
    finished: tuple[Op, ...] = ()


class Gate:
    """Thread-safe; reads etcd, writes nothing."""

    def __init__(self, store: Store, clock: Clock, verifier: SignatureVerifier | None = None) -> None:
        self._store = store
        self._clock = clock
        self._verifier = verifier or SshKeygen()

    def check(
        self,
        approval: Approval | None,
        *,
        kind: str,
        partition: str | None,
        subject: Mapping[str, Any],
        resume: bool = False,
    ) -> Granted:
        """`approval`: None or `{"request": base64 of the file, "signatures": [armored text, …]}`.

        The signed request must have exactly this cluster, kind, partition and, as its own fields, `subject`
        (JSON-able). Without `resume` it must never have been used; with it, it may have been begun and not finished.
        KeyfoldError: `unapproved` (who signed, who did not count and why, how many are needed, what to run); `invalid`
        (the approval cannot be read); those of the store.
        """
        item = self._store.get(keys.OFFICERS)
        officers = officers_.decode(None if item is None else item.value)
        if item is None:
            raise _unapproved(
                f"{_what(kind, partition)} needs officers' approval, and no officers are declared",
                "declare them in the inventory (keyfold_officers) and run playbooks/site.yml; see docs/approvals.md",
            )
        if approval is None:
            raise _unapproved(
                f"{_what(kind, partition)} needs the approval of {_needed(officers)}",
                f"write a request with {_fields(kind, partition, subject)} (docs/approvals.md), have "
                f"{officers.required} officers run: {sign_command()}; then run this again with the request",
            )
        raw, signatures = decode(approval)
        request = parse(raw)
        self._fits(request, kind, partition, subject)
        count = tally(self._verifier, raw, signatures, officers.keys)
        if len(count.officers) < officers.required:
            raise _unapproved(f"the request {request.id[:12]} is {shortage(count, officers)}", _sign_next(officers))
        used_at = self._unused(request, resume=resume)
        return self._granted(request, count, (Unchanged(keys.OFFICERS, item.mod_revision), used_at))

    def _fits(self, request: Request, kind: str, partition: str | None, subject: Mapping[str, Any]) -> None:
        cluster = self._store.get(keys.CLUSTER)
        uuid = "" if cluster is None else json.loads(cluster.value)["uuid"]
        now = self._clock.utc()
        wrong = mismatches(request, cluster=uuid, kind=kind, partition=partition, subject=subject, now=now)
        if wrong:
            raise _unapproved(
                f"the request {request.id[:12]} is not for {_what(kind, partition)}: {'; '.join(wrong)}",
                f"correct the request and have it signed again: {sign_command()}",
            )

    def _unused(self, request: Request, *, resume: bool) -> Unchanged:
        key = keys.approval(request.id)
        item = self._store.get(key)
        if item is None:
            return Unchanged(key, 0)
        if resume and not json.loads(item.value)["finished"]:
            return Unchanged(key, item.mod_revision)
        raise _unapproved(
            f"the request {request.id[:12]} was used {used_for(item.value)}",
            f"a request is good for one use: write a new one (another ticket or expiry), sign it: {sign_command()}",
        )

    def _granted(self, request: Request, count: Tally, compares: tuple[Unchanged, ...]) -> Granted:
        use = {
            "kind": request.kind,
            "partition": request.partition,
            "ticket": request.ticket,
            "requested_by": request.requested_by,
            "officers": list(count.officers),
            "used": stamp(self._clock.utc()),
        }

        def put(*, finished: bool) -> Put:
            return Put(keys.approval(request.id), compact({**use, "finished": finished}))

        return Granted(
            count.officers, request.id, request, compares, ops=(put(finished=False),), finished=(put(finished=True),)
        )


def decode(approval: Approval) -> tuple[bytes, list[str]]:
    """The request's exact bytes and the signatures out of the socket form; KeyfoldError `invalid`."""
    try:
        raw = base64.b64decode(approval["request"], validate=True)
        signatures = approval["signatures"]
        if isinstance(signatures, list) and all(
            isinstance(text, str) and len(text) <= MAX_SIGNATURE_BYTES for text in signatures
        ):
            return raw, signatures
    except (KeyError, TypeError, ValueError, binascii.Error):
        pass
    raise KeyfoldError(
        "invalid",
        "the approval is not {request: base64, signatures: [armored text]}",
        not_done=_NOTHING,
        next_step="see docs/approvals.md",
    )


def used_for(value: bytes) -> str:
    """`at <time>, for 'purge' of partition acme`, from what etcd holds under `approvals/`."""
    use = json.loads(value)
    return f"at {use['used']}, for {_what(use['kind'], use['partition'])}"


def sign_command(request: str = "REQUEST.yml") -> str:
    return f"ssh-keygen -Y sign -n {NAMESPACE} -f THEIR_KEY {request}"


def shortage(count: Tally, officers: Officers) -> str:
    """`signed by ada; does not count: signature 2: …; needed: 2 of ada, grace`."""
    parts = [f"signed by {', '.join(count.officers) or 'nobody'}"]
    if count.rejected:
        parts.append(f"does not count: {', '.join(count.rejected)}")
    return "; ".join((*parts, f"needed: {_needed(officers)}"))


def _needed(officers: Officers) -> str:
    return f"{officers.required} of {', '.join(sorted(officers.keys))}"


def _sign_next(officers: Officers) -> str:
    return f"have officers sign exactly this file until {officers.required} have: {sign_command()}"


def _fields(kind: str, partition: str | None, subject: Mapping[str, Any]) -> str:
    place: Sequence[str] = () if partition is None else (f"partition: {partition}",)
    own = (f"{name}: {json.dumps(value)}" for name, value in subject.items())
    text = ", ".join((f"kind: {kind}", *place, *own))
    return text if len(text) <= 400 else text[:399] + "…"


def _what(kind: str, partition: str | None) -> str:
    return f"'{kind}'" if partition is None else f"'{kind}' of partition {partition}"


def _unapproved(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("unapproved", what, not_done=_NOTHING, next_step=next_step)
