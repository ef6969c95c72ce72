"""A whole etcd cluster in memory; any number of clients (`MemoryStore`) share it."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

from keyfold.store.errors import LeaseGone
from keyfold.store.interface import Delete, KeyValue, Op, Put, TxnResult, Unchanged
from keyfold.store.memory.history import History


@dataclass
class _Lease:
    ttl_seconds: int
    ends: float


class MemoryEtcd:
    """Thread-safe. `clock` counts seconds for leases; after moving a clock of your own, call `tick`."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self.changed = threading.Condition(threading.RLock())
        self._clock = clock
        self._history = History()
        self._leases: dict[int, _Lease] = {}
        self._last_lease = 0

    @property
    def history(self) -> History:
        """What is written, after leases that ended have taken their keys along. Hold `changed` while using it."""
        self.tick()
        return self._history

    @property
    def has_leases(self) -> bool:
        return bool(self._leases)

    def tick(self) -> None:
        """Let leases end that are due; each takes its keys at one revision."""
        with self.changed:
            for lease in [i for i, lease in self._leases.items() if lease.ends <= self._clock()]:
                self.end_lease(lease)

    def compact(self, revision: int) -> None:
        with self.changed:
            self.history.compact(revision)

    def txn(self, compares: Sequence[Unchanged], ops: Sequence[Op]) -> TxnResult:
        with self.changed:
            history = self.history
            current = {compare.key: history.at(compare.key) for compare in compares}
            if not all(_mod_revision(current[c.key]) == c.mod_revision for c in compares):
                return TxnResult(False, history.revision, current)
            for op in ops:
                if isinstance(op, Put) and op.lease and op.lease not in self._leases:
                    raise LeaseGone(op.lease)
            history.write(ops)
            self.changed.notify_all()
            return TxnResult(True, history.revision, {})

    def grant(self, ttl_seconds: int) -> int:
        with self.changed:
            self._last_lease += 1
            self._leases[self._last_lease] = _Lease(ttl_seconds, self._clock() + ttl_seconds)
            return self._last_lease

    def keep_alive(self, lease: int) -> int:
        with self.changed:
            self.tick()
            found = self._leases.get(lease)
            if found is None:
                return 0
            found.ends = self._clock() + found.ttl_seconds
            return found.ttl_seconds

    def end_lease(self, lease: int) -> None:
        with self.changed:
            if self._leases.pop(lease, None) is None:
                return
            held = [key for key in self._history.keys("") if _lease(self._history.at(key)) == lease]
            self._history.write(map(Delete, held))
            self.changed.notify_all()


def _mod_revision(found: KeyValue | None) -> int:
    return found.mod_revision if found else 0


def _lease(found: KeyValue | None) -> int:
    return found.lease if found else 0
