"""An audit note: the operation that records what a transaction does, put into that same transaction.

The commit path adds one small key and no wait; the chain's writer (`audit/writer.py`) links it soon after, and then
leaves a marker of the same name for a while, so that a commit whose answer was lost still learns what became of it.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Any

from keyfold import json_bytes
from keyfold.clock import Clock, stamp
from keyfold.replication import keys
from keyfold.store.interface import KeyValue, Put, Unchanged

MAX_NOTE_BYTES = 64 * 1024
_FIELDS = frozenset({"what", "who", "node", "time", "partition"})


def note(clock: Clock, node: str, *, what: str, who: str, partition: str | None = None, **detail: Any) -> Put:
    """The put that records `what` (a short verb phrase: "reactivate", "login locked") was done by `who` on `node`.

    `detail`: what else a reader needs (files, ticket, revision, …), JSON-able, never a secret. ValueError if it is
    larger than MAX_NOTE_BYTES or has floating point numbers (their canonical form would be a matter of taste).
    """
    now = stamp(clock.utc())
    entry: dict[str, Any] = {"what": what, "who": who, "node": node, "time": now}
    if partition is not None:
        entry["partition"] = partition
    if clash := _FIELDS & detail.keys():
        raise ValueError(f"{min(clash)} is a field of its own")
    entry.update({name: value for name, value in detail.items() if value is not None})
    value = canonical(entry)
    if len(value) > MAX_NOTE_BYTES:
        raise ValueError(f"an audit note of {len(value)} bytes; at most {MAX_NOTE_BYTES}")
    return Put(f"{keys.AUDIT_PENDING}{now}-{uuid.uuid4().hex}", value)


def markers(put: Put) -> tuple[Unchanged, Unchanged]:
    """Compares that let the note's transaction be repeated (`store.settle`): not there yet, and not linked already."""
    return Unchanged(put.key, 0), Unchanged(_linked(put.key), 0)


def committed_at(put: Put, current: Mapping[str, KeyValue | None]) -> int | None:
    """The revision of the note's transaction, from `TxnResult.current` with `markers`; None if it never happened."""
    pending = current.get(put.key)
    if pending is not None:
        return pending.mod_revision
    linked = current.get(_linked(put.key))
    return None if linked is None else int(linked.value)


def linked_marker(pending: KeyValue, lease: int) -> Put:
    """What takes a linked note's place: the revision of its transaction, for as long as the lease lasts."""
    return Put(_linked(pending.key), str(pending.mod_revision).encode(), lease)


def canonical(value: Mapping[str, Any]) -> bytes:
    """Canonical JSON as in docs/formats.md, of text, whole numbers, true/false/null, lists, objects with ASCII keys."""
    _check(value)
    return json_bytes.canonical(value)


def _check(value: Any) -> None:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key.isascii() for key in value):
            raise ValueError("keys of an audit entry are ASCII text")
        for item in value.values():
            _check(item)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item)
    elif isinstance(value, str):
        value.encode()  # half a surrogate pair is no text: UnicodeEncodeError, a ValueError
    elif not isinstance(value, int | None):
        raise ValueError(f"{type(value).__name__} has no canonical form")  # noqa: TRY004 - one error for the value


def _linked(pending: str) -> str:
    return keys.AUDIT_LINKED + pending.removeprefix(keys.AUDIT_PENDING)
