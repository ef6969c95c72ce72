"""What a partition holds, kept in etcd beside its objects, so that its quota is checked without looking at them.

The figures change in the transaction that changes the objects, compared with the revision they were read at: they are
exact at every revision, and no two nodes can pass the quota together. Nodes that write one partition at the same
moment therefore meet in one key; the loser of such a meeting repeats its transaction with the winner's figures.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass

from keyfold.audit.note import committed_at, markers
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.store.interface import KeyValue, Op, Put, Store, TxnResult, Unchanged
from keyfold.store.settle import settle


@dataclass(frozen=True, slots=True)
class Usage:
    """Objects and bytes of their files: live ones (token.object included), and those kept as invalidated.

    Also a difference of two such states.
    """

    objects: int = 0
    live_bytes: int = 0
    invalidated: int = 0
    invalidated_bytes: int = 0

    @property
    def total_bytes(self) -> int:
        return self.live_bytes + self.invalidated_bytes

    def __add__(self, other: Usage) -> Usage:
        return Usage(
            self.objects + other.objects,
            self.live_bytes + other.live_bytes,
            self.invalidated + other.invalidated,
            self.invalidated_bytes + other.invalidated_bytes,
        )

    def encode(self) -> bytes:
        return compact(asdict(self))


def live(size: int) -> Usage:
    """One more live object."""
    return Usage(1, size)


def gone(size: int) -> Usage:
    """One live object less."""
    return Usage(-1, -size)


def kept(size: int) -> Usage:
    """One more invalidated object."""
    return Usage(0, 0, 1, size)


def dropped(size: int) -> Usage:
    """One invalidated object less."""
    return Usage(0, 0, -1, -size)


def total(parts: Iterable[Usage]) -> Usage:
    return sum(parts, Usage())


def decode(item: KeyValue | None) -> Usage:
    return Usage() if item is None else Usage(**json.loads(item.value))


class Ledger:
    """One partition's usage as last seen here. Not thread-safe. `limit`: the quota in bytes now, None for none.

    The system partition has no quota and no figures: it is the cluster's own.
    """

    def __init__(self, store: Store, partition: str, limit: Callable[[], int | None]) -> None:
        self._store = store
        self._partition = partition
        self._key = keys.usage(partition)
        self._limit = limit
        self._seen: Usage | None = None
        self._revision = 0

    def transact(
        self,
        compares: Sequence[Unchanged],
        ops: Sequence[Op],
        record: Put,
        difference: Usage,
        *,
        timeout_seconds: float,
    ) -> TxnResult:
        """Do the operations, the audit note `record` and the new figures in one transaction, settled.

        An unsuccessful result means that one of `compares` does not hold. KeyfoldError `quota` if the partition would
        grow past its limit (nothing was done); otherwise raises as `settle`.
        """
        deadline = time.monotonic() + timeout_seconds
        fixed, writes = [*markers(record), *compares], [*ops, record]
        if difference == Usage() or self._partition == SYSTEM:
            return _settled(self._store, fixed, writes, record, timeout_seconds)[0]
        if self._seen is None:
            self._look()
        while True:
            after = self._after(difference)
            result, repeated = _settled(
                self._store,
                [*fixed, Unchanged(self._key, self._revision)],
                [*writes, Put(self._key, after.encode())],
                record,
                max(deadline - time.monotonic(), 0.5),
            )
            if result.succeeded:
                self._seen, self._revision = (None, 0) if repeated else (after, result.revision)
                return result
            self._adopt(result.current.get(self._key))
            holds = all(_revision(result.current.get(one.key)) == one.mod_revision for one in fixed)
            if not holds or time.monotonic() >= deadline:
                return result

    def check(self, difference: Usage) -> None:
        """KeyfoldError `quota` if the partition has no room for all of this; for what takes several transactions."""
        self._look()
        self._after(difference)

    def _look(self) -> None:
        self._adopt(self._store.get(self._key))

    def _adopt(self, item: KeyValue | None) -> None:
        self._seen, self._revision = decode(item), _revision(item)

    def _after(self, difference: Usage) -> Usage:
        """The figures after the change; before it is refused they are read afresh: others may have made room."""
        limit = self._limit()

        def fits() -> bool:
            after = (self._seen or Usage()) + difference
            return limit is None or difference.total_bytes <= 0 or after.total_bytes <= limit

        if not fits():
            self._look()
        seen = self._seen or Usage()
        if not fits():
            raise KeyfoldError(
                "quota",
                f"partition {self._partition} is full: {seen.live_bytes} bytes of live and {seen.invalidated_bytes} "
                f"of invalidated objects, {difference.total_bytes} more would pass its {limit}",
                not_done="nothing was committed; no node has any of it",
                next_step=f"destroying alone frees nothing: keyfold object purge {self._partition}, or raise "
                "max_size_bytes",
            )
        return seen + difference


def _settled(
    store: Store, compares: Sequence[Unchanged], ops: Sequence[Op], record: Put, timeout_seconds: float
) -> tuple[TxnResult, bool]:
    """The result, and whether it was found out only when others had already gone on from it."""
    result = settle(store, compares, ops, timeout_seconds=timeout_seconds)
    mine = None if result.succeeded else committed_at(record, result.current)
    return (result, False) if mine is None else (TxnResult(True, mine, {}), True)


def _revision(item: KeyValue | None) -> int:
    return 0 if item is None else item.mod_revision


def count(live_sizes: Iterable[int], invalidated_sizes: Iterable[int]) -> Usage:
    """The figures counted from the objects themselves."""
    return total([*map(live, live_sizes), *map(kept, invalidated_sizes)])
