"""Write one change set to etcd in one transaction and learn for certain whether it happened (design §5.1–2)."""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.changes import Change
from keyfold.replication.sealed import Sealer, StoredObject
from keyfold.store import Delete, OutcomeUnknown, Put, Store, StoreUnavailable, TxnResult, Unchanged

# Two operations and two comparisons per object, and the marker, stay below etcd's limit of 128 (keyfold.store.MAX_TXN_OPS).
CHANGES_PER_TRANSACTION = 48
_PAUSE_SECONDS = 0.05


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
        time, OutcomeUnknown if even the deadline did not tell. The audit entry, unique to this commit, is the marker by which a
        transaction whose answer was lost is recognised, and it keeps a repeated one from being applied twice.
        """
        now = stamp(self.clock.utc())
        marker = f"{keys.AUDIT}{now}-{uuid.uuid4().hex}"
        compares = [Unchanged(marker, 0)]
        ops: list[Put | Delete] = [Put(marker, self._audit(what, caller, changes))]
        for change in changes:
            compares.append(Unchanged(keys.live(self.partition, change.file), change.expected))
            shadow = keys.invalidated(self.partition, change.file)
            if change.content is not None:
                live = keys.live(self.partition, change.file)
                ops.append(Put(live, self.sealer.seal(live, change.content)))
                if change.expected == 0:
                    compares.append(Unchanged(shadow, 0))
                continue
            ops.append(Delete(keys.live(self.partition, change.file)))
            if change.file in shadows:
                kept = shadows[change.file]
                meta = {**kept.meta, "invalidated_at": now}
                ops.append(Put(shadow, self.sealer.seal(shadow, StoredObject(meta, kept.data))))
        return self._until_known(compares, ops, marker, timeout_seconds)

    def _until_known(
        self, compares: list[Unchanged], ops: list[Put | Delete], marker: str, timeout_seconds: float
    ) -> int:
        deadline = self.clock.monotonic() + timeout_seconds
        unknown: OutcomeUnknown | None = None
        while True:
            left = deadline - self.clock.monotonic()
            try:
                result = self.store.txn(compares, ops, timeout_seconds=max(left, _PAUSE_SECONDS))
                return self._revision(result, marker)
            except OutcomeUnknown as error:
                unknown = error
            except StoreUnavailable:
                if left <= 0:
                    if unknown is not None:
                        raise unknown from None
                    raise
            if deadline <= self.clock.monotonic() and unknown is not None:
                raise unknown
            self.clock.sleep(_PAUSE_SECONDS)

    def _revision(self, result: TxnResult, marker: str) -> int:
        if result.succeeded:
            return result.revision
        mine = result.current.get(marker)
        if mine is not None:
            return mine.mod_revision
        raise KeyfoldError(
            "conflict",
            f"another change to the same object of partition {self.partition} was committed first",
            not_done="this change was not committed; the committed state stays",
            next_step="read the object again and repeat the change",
        )

    def _audit(self, what: str, caller: str, changes: Sequence[Change]) -> bytes:
        entry: dict[str, Any] = {
            "what": what,
            "who": caller,
            "node": self.node,
            "partition": self.partition,
            "files": [change.file for change in changes],
        }
        return json.dumps(entry, separators=(",", ":")).encode()
