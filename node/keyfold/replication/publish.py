"""Write one change set to etcd in one transaction and learn for certain whether it happened (design §5.1–2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyfold.audit.note import note
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.changes import Change
from keyfold.replication.sealed import Sealer, StoredObject
from keyfold.replication.usage import Ledger, Usage, gone, kept, live, total
from keyfold.store.interface import MAX_TXN_OPS, Delete, Op, Put, Unchanged

# Two operations and two comparisons per object, the note and the figures stay below etcd's limit of each.
CHANGES_PER_TRANSACTION = MAX_TXN_OPS // 2 - 16
# Object files of one transaction together, below etcd's limit with metadata and what sealing adds.
BYTES_PER_TRANSACTION = 1_200_000


@dataclass(frozen=True, slots=True)
class Publisher:
    """Commits change sets of one partition; its usage is in `ledger`."""

    ledger: Ledger
    sealer: Sealer
    clock: Clock
    node: str
    partition: str

    def publish(
        self,
        changes: Sequence[Change],
        *,
        what: str,
        caller: str,
        before: Mapping[str, StoredObject],
        keep_destroyed: bool,
        timeout_seconds: float,
    ) -> int:
        """The revision of the commit. `before`: the committed content of the changed files, where they have one.

        `keep_destroyed`: destroyed objects become invalidated; otherwise they are gone for good.
        Raises KeyfoldError `conflict` if any object moved meanwhile, `quota` if the partition has no room for it,
        StoreUnavailable if it was certainly not done in time, OutcomeUnknown if even the deadline did not tell. The
        audit note is unique to this commit: it tells a commit that was applied and already overwritten from one that
        lost.
        """
        now = stamp(self.clock.utc())
        files = [change.file for change in changes]
        record = note(self.clock, self.node, what=what, who=caller, partition=self.partition, files=files)
        compares: list[Unchanged] = []
        ops: list[Op] = [Put(keys.HEAD, b"")]
        for change in changes:
            there = keys.live(self.partition, change.file)
            shadow = keys.invalidated(self.partition, change.file)
            compares += [Unchanged(there, change.expected), Unchanged(shadow, 0)]
            if change.content is not None:
                ops.append(Put(there, self.sealer.seal(there, change.content)))
                continue
            ops.append(Delete(there))
            if keep_destroyed and change.file in before:
                last = before[change.file]
                meta = {**last.meta, "invalidated_at": now}
                ops.append(Put(shadow, self.sealer.seal(shadow, StoredObject(meta, last.data))))
        difference = total(_difference(change, before.get(change.file), keep_destroyed) for change in changes)
        result = self.ledger.transact(compares, ops, record, difference, timeout_seconds=timeout_seconds)
        if result.succeeded:
            return result.revision
        raise KeyfoldError(
            "conflict",
            f"another change to the same object of partition {self.partition} was committed first",
            not_done="this change was not committed; the committed state stays",
            next_step="read the object again and repeat the change",
        )


def _difference(change: Change, before: StoredObject | None, keep_destroyed: bool) -> Usage:
    """What one change does to the partition's figures."""
    parts = [] if before is None else [gone(len(before.data))]
    if change.content is not None:
        parts.append(live(len(change.content.data)))
    elif keep_destroyed and before is not None:
        parts.append(kept(len(before.data)))
    return total(parts)
