"""A watch on the cluster in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from keyfold.store.errors import Compacted
from keyfold.store.interface import Batch, Watch
from keyfold.store.memory.cluster import MemoryEtcd

_LEASE_CHECK_SECONDS = 0.02


class MemoryWatch(Watch):
    """`cut` says whether its client is cut off from the cluster; compaction hurts only when it connects."""

    def __init__(
        self, etcd: MemoryEtcd, prefix: str, from_revision: int, *, progress: bool, cut: Callable[[], bool]
    ) -> None:
        self._etcd = etcd
        self._prefix = prefix
        self._delivered = from_revision - 1
        self._progress = progress
        self._cut = cut
        self._connected = False
        self._closed = False

    def close(self) -> None:
        with self._etcd.changed:
            self._closed = True
            self._etcd.changed.notify_all()

    def disconnect(self) -> None:
        """As when a connection breaks; it connects again by itself."""
        with self._etcd.changed:
            self._connected = False

    def __iter__(self) -> Iterator[Batch]:
        while (batch := self._wait()) is not None:
            yield batch

    def _wait(self) -> Batch | None:
        with self._etcd.changed:
            while not self._closed:
                if not self._cut():
                    batch = self._next()
                    if batch is not None:
                        self._delivered = batch.revision
                        return batch
                # Only leases end without anyone notifying.
                self._etcd.changed.wait(_LEASE_CHECK_SECONDS if self._etcd.has_leases else None)
            return None

    def _next(self) -> Batch | None:
        history = self._etcd.history
        if not self._connected:
            if self._delivered + 1 < history.compacted:
                raise Compacted(history.compacted)
            self._connected = True
        events = tuple(history.since(self._prefix, self._delivered + 1))
        if events:
            return Batch(events[-1].mod_revision, events)
        if self._progress and history.revision > self._delivered:
            return Batch(history.revision, ())
        return None
