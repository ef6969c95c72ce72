"""Link pending notes into the chain: in the order of their revisions, each once, whoever else tries the same.

Everything hangs on one compare-and-set: a transaction that appends entries compares and writes the chain's head, so of
two that start from the same head one is applied, and one that is late or repeated is not applied again. Crashing at any
point leaves either the notes pending or the entries linked, for they change places in that transaction.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.audit import entry
from keyfold.audit.entry import Head
from keyfold.audit.note import linked_marker
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.errors import LeaseGone
from keyfold.store.interface import Delete, KeyValue, Op, Put, Store, Unchanged

# Three operations a note, and the head, stay below etcd's 128; their bytes below its 1.5 MB.
NOTES_PER_TRANSACTION = 40
_NOTE_BYTES = 600_000
# How long a commit whose answer was lost can still ask what became of it: etcd gives up on a proposal, and TCP on a
# connection, long before.
MARKER_SECONDS = 900
_MARKER_LEASE_SECONDS = 60.0

Sign = Callable[[Sequence[bytes], int], list[bytes]]


@dataclass(slots=True)
class _MarkerLease:
    lease: int = 0
    until: float = 0.0


class Linker:
    """`sign(messages, epoch)` uses the audit key of that epoch. One thread."""

    def __init__(self, store: Store, clock: Clock, node: str, sign: Sign) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._sign = sign
        self._markers = _MarkerLease()

    def link(self, cluster: Mapping[str, Any]) -> int:
        """Link the oldest pending notes, at most one transaction's; how many. 0 also if somebody else was faster.

        KeyfoldError `refused` if the chain in etcd is not one that can be continued; those of the store and `sign`.
        """
        head_item = self._store.get(keys.AUDIT_HEAD)
        head = Head.start(cluster["uuid"]) if head_item is None else Head.decode(head_item.value)
        notes = _oldest(self._store)
        if not notes:
            return 0
        epoch = cluster["epoch"]
        bodies, last = self._bodies(notes, head, epoch, bytes.fromhex(cluster["audit_public_keys"][str(epoch)]))
        signatures = self._sign([entry.signed(body) for body in bodies], epoch)
        lease = self._marker_lease()
        compares = [Unchanged(keys.AUDIT_HEAD, 0 if head_item is None else head_item.mod_revision)]
        ops: list[Op] = [Put(keys.AUDIT_HEAD, last.encode())]
        for seq, (item, body, signature) in enumerate(zip(notes, bodies, signatures, strict=True), start=head.seq + 1):
            place = keys.audit_entry(seq)
            compares += [Unchanged(place, 0), Unchanged(item.key, item.mod_revision)]
            ops += [Put(place, entry.encode(body, signature)), Delete(item.key), linked_marker(item, lease)]
        try:
            result = self._store.txn(compares, ops)
        except LeaseGone:
            self._markers = _MarkerLease()
            return 0
        if not result.succeeded:
            self._check_end(result.current, head_item, head)
            return 0
        return len(notes)

    def _bodies(self, notes: Sequence[KeyValue], head: Head, epoch: int, key: bytes) -> tuple[list[bytes], Head]:
        bodies, last, now = [], head, stamp(self._clock.utc())
        for item in notes:
            body = entry.body(
                item.value,
                previous=last,
                revision=item.mod_revision,
                epoch=epoch,
                public_key=key,
                node=self._node,
                linked=now,
            )
            bodies.append(body)
            last = entry.after(last, body, item.mod_revision)
        return bodies, last

    def _marker_lease(self) -> int:
        """One lease for the markers of a minute: each marker lives for at least MARKER_SECONDS less that minute."""
        now = self._clock.monotonic()
        if now >= self._markers.until:
            self._markers = _MarkerLease(self._store.grant(MARKER_SECONDS), now + _MARKER_LEASE_SECONDS)
        return self._markers.lease

    def _check_end(self, current: Mapping[str, KeyValue | None], expected: KeyValue | None, head: Head) -> None:
        """Lost to another writer is ordinary; an entry beyond a head that did not move is not."""
        found = current.get(keys.AUDIT_HEAD)
        moved = (0 if found is None else found.mod_revision) != (0 if expected is None else expected.mod_revision)
        if not moved and current.get(keys.audit_entry(head.seq + 1)) is not None:
            raise KeyfoldError(
                "refused",
                f"the audit chain in etcd goes beyond its head: entry {head.seq + 1} exists, the head says {head.seq}",
                not_done="no audit note is linked; they are kept as pending",
                next_step="keyfold audit verify; somebody wrote to etcd without Keyfold: see docs/audit.md",
            )


def _oldest(store: Store) -> list[KeyValue]:
    """In the order of their transactions; constant memory, however many are pending."""
    order = lambda item: (item.mod_revision, item.key)  # noqa: E731 - a key function, used here only
    oldest = heapq.nsmallest(NOTES_PER_TRANSACTION, store.scan(keys.AUDIT_PENDING), key=order)
    size, taken = 0, list[KeyValue]()
    for item in oldest:
        # An entry holds its note at full length, or less.
        size += len(item.value)
        if taken and size > _NOTE_BYTES:
            break
        taken.append(item)
    return taken
