"""Write one change set to etcd in one transaction and learn for certain whether it happened (design §5.1–2)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from keyfold.audit.note import committed_at, markers, note
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.changes import Change
from keyfold.replication.sealed import Sealer, StoredObject
from keyfold.store.interface import Delete, Op, Put, Store, Unchanged
from keyfold.store.settle import settle

# Two operations and two comparisons per object, and the marker, stay below etcd's limit of 128 of each.
CHANGES_PER_TRANSACTION = 48


@dataclass(frozen=True, slots=True)
class Publisher:
    """Commits change sets of one partition; `key_invalidation` False drops destroyed objects for good."""

    store: Store
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
        shadows: Mapping[str, StoredObject],
        timeout_seconds: float,
    ) -> int:
        """The revision of the commit. `shadows`: content of destroyed files that is kept as invalidated.

        Raises KeyfoldError `conflict` if any object moved meanwhile, StoreUnavailable if it was certainly not done in
        time, OutcomeUnknown if even the deadline did not tell. The audit note is unique to this commit: it tells
        a commit that was applied and already overwritten from one that lost.
        """
        now = stamp(self.clock.utc())
        files = [change.file for change in changes]
        record = note(self.clock, self.node, what=what, who=caller, partition=self.partition, files=files)
        compares = [*markers(record)]
        ops: list[Op] = [record, Put(keys.HEAD, b"")]
        for change in changes:
            live = keys.live(self.partition, change.file)
            shadow = keys.invalidated(self.partition, change.file)
            compares += [Unchanged(live, change.expected), Unchanged(shadow, 0)]
            if change.content is not None:
                ops.append(Put(live, self.sealer.seal(live, change.content)))
                continue
            ops.append(Delete(live))
            if change.file in shadows:
                kept = shadows[change.file]
                meta = {**kept.meta, "invalidated_at": now}
                ops.append(Put(shadow, self.sealer.seal(shadow, StoredObject(meta, kept.data))))
        result = settle(self.store, compares, ops, timeout_seconds=timeout_seconds)
        if result.succeeded:
            return result.revision
        mine = committed_at(record, result.current)
        if mine is not None:
            return mine
        raise KeyfoldError(
            "conflict",
            f"another change to the same object of partition {self.partition} was committed first",
            not_done="this change was not committed; the committed state stays",
            next_step="read the object again and repeat the change",
        )
