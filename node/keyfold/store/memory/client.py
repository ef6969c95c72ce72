"""One client of the cluster in memory, and the faults a test can order for it."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from enum import Enum, auto

from keyfold.store.errors import Compacted, OutcomeUnknown, StoreFull, StoreUnavailable
from keyfold.store.interface import (
    DEFAULT_TIMEOUT_SECONDS,
    KeyValue,
    MemberStatus,
    Op,
    Scan,
    Store,
    TxnResult,
    Unchanged,
    Watch,
)
from keyfold.store.limits import check_txn
from keyfold.store.memory.cluster import MemoryEtcd
from keyfold.store.memory.watch import MemoryWatch


class Fate(Enum):
    """What becomes of a transaction, in place of the ordinary."""

    UNAVAILABLE = auto()  # StoreUnavailable: not done
    FULL = auto()  # StoreFull: not done
    APPLIED_UNANSWERED = auto()  # OutcomeUnknown: applied
    LOST = auto()  # OutcomeUnknown: not applied, and never will be
    LATE = auto()  # OutcomeUnknown: not applied until `deliver_late`


class MemoryStore(Store):
    """See `Store`; without arguments it has a cluster of its own. No call waits.

    `next_txns(*fates)` orders what becomes of the next transactions. `cut_off()` makes every call raise
    StoreUnavailable and keeps events from watches until `reconnect()`.
    """

    def __init__(self, etcd: MemoryEtcd | None = None) -> None:
        self.etcd = etcd or MemoryEtcd()
        self._fates: deque[Fate] = deque()
        self._late: list[Callable[[], TxnResult]] = []
        self._watches: list[MemoryWatch] = []
        self._cut = False

    def next_txns(self, *fates: Fate) -> None:
        self._fates.extend(fates)

    def deliver_late(self) -> None:
        """Let the cluster have the transactions whose fate is LATE."""
        late, self._late = self._late, []
        for txn in late:
            txn()

    def cut_off(self) -> None:
        self._set_cut(True)

    def reconnect(self) -> None:
        self._set_cut(False)

    def break_watches(self) -> None:
        """Break the connection of every watch; they resume, unless what they miss is compacted."""
        for watch in self._watches:
            watch.disconnect()

    def get(self, key: str, *, serializable: bool = False, revision: int = 0) -> KeyValue | None:
        if not serializable:
            self._reach()
        with self.etcd.changed:
            return self.etcd.history.at(key, revision)

    def scan(
        self, prefix: str, *, revision: int = 0, keys_only: bool = False, page: int = 500, without: str = ""
    ) -> Scan:
        self._reach()
        with self.etcd.changed:
            at = revision or self.etcd.history.revision
            self.etcd.history.at("", at)  # raises if that revision cannot be read
            keys = [key for key in self.etcd.history.keys(prefix) if not (without and key.startswith(without))]
        return Scan(at, self._items(keys, at, keys_only=keys_only, page=page))

    def revision(self) -> int:
        self._reach()
        with self.etcd.changed:
            return self.etcd.history.revision

    def txn(
        self,
        compares: Sequence[Unchanged],
        ops: Sequence[Op],
        *,
        timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS,
    ) -> TxnResult:
        check_txn(compares, ops)
        fate = self._fates.popleft() if self._fates else None
        if fate is Fate.UNAVAILABLE:
            raise StoreUnavailable("etcd is unavailable, as ordered")
        if fate is Fate.FULL:
            raise StoreFull("memory")
        self._reach()
        if fate is None:
            return self.etcd.txn(compares, ops)
        if fate is Fate.APPLIED_UNANSWERED:
            self.etcd.txn(compares, ops)
        elif fate is Fate.LATE:
            self._late.append(lambda: self.etcd.txn(compares, ops))
        raise OutcomeUnknown(f"the answer is lost, as ordered ({fate.name})")

    def grant(self, ttl_seconds: int) -> int:
        self._reach()
        return self.etcd.grant(ttl_seconds)

    def keep_alive(self, lease: int) -> int:
        self._reach()
        return self.etcd.keep_alive(lease)

    def revoke(self, lease: int) -> None:
        self._reach()
        self.etcd.end_lease(lease)

    def watch(self, prefix: str, from_revision: int, *, progress: bool = True) -> Watch:
        if from_revision < 1:
            raise ValueError("a watch begins at a revision")
        watch = MemoryWatch(self.etcd, prefix, from_revision, progress=progress, cut=lambda: self._cut)
        self._watches.append(watch)
        return watch

    def compact(self, revision: int) -> None:
        self._reach()
        with suppress(Compacted):
            self.etcd.compact(revision)

    def defragment(self, endpoint: str) -> None:
        self._reach()

    def members(self) -> tuple[MemberStatus, ...]:
        with self.etcd.changed:
            revision = self.etcd.history.revision
        error = "cut off, as ordered" if self._cut else ""
        return (MemberStatus("memory", "memory", not self._cut, not self._cut, 0, revision, error),)

    def close(self) -> None:
        for watch in self._watches:
            watch.close()

    def _reach(self) -> None:
        if self._cut:
            raise StoreUnavailable("cut off from etcd, as ordered")

    def _set_cut(self, cut: bool) -> None:
        with self.etcd.changed:
            self._cut = cut
            if cut:
                self.break_watches()
            self.etcd.changed.notify_all()

    def _items(self, keys: Sequence[str], at: int, *, keys_only: bool, page: int) -> Iterator[KeyValue]:
        for start in range(0, len(keys), page):
            self._reach()
            with self.etcd.changed:
                found = [self.etcd.history.at(key, at) for key in keys[start : start + page]]
            for kv in found:
                if kv is not None:
                    yield kv if not keys_only else _without_value(kv)


def _without_value(kv: KeyValue) -> KeyValue:
    return KeyValue(kv.key, b"", kv.mod_revision, kv.create_revision, kv.version, kv.lease)
