"""A cluster in memory: nodes with the real replication code over the twins of etcd, the token directory and inotify."""

from __future__ import annotations

import struct
from collections.abc import Callable
from pathlib import Path

from keyfold.clock import SystemClock
from keyfold.replication import keys
from keyfold.replication.base import Base
from keyfold.replication.replica import Replica, Tools
from keyfold.replication.sealed import DataKeySealer
from keyfold.replication.usage import Usage, count, decode
from keyfold.store.interface import Event
from keyfold.store.memory import MemoryEtcd, MemoryStore
from keyfold.token.locks import MemoryPartitionLocks
from keyfold.token.memory import MemoryDirectory

PARTITION = "acme"
TORN = b"\0\0\0\0\0\0\0\1\0\0"
SEALER = DataKeySealer(bytes(range(32)))


def object_file(value: bytes, *, object_class: int = 4, generation: int = 1, label: bytes | None = None) -> bytes:
    """A SoftHSM object file with a class, a value, and a label in clear if one is given."""
    attributes = [struct.pack(">QQQ", 0x0, 2, object_class), struct.pack(">QQB", 0x2, 1, 0xFF * (label is None))]
    if label is not None:
        attributes.append(struct.pack(">QQQ", 0x3, 3, len(label)) + label)
    attributes.append(struct.pack(">QQQ", 0x11, 3, len(value)) + value)
    return struct.pack(">Q", generation) + b"".join(attributes)


class Node:
    """`crash` forgets everything that is only in memory; `start` is what the agent does when it comes up."""

    def __init__(
        self,
        name: str,
        etcd: MemoryEtcd,
        tmp: Path,
        *,
        key_invalidation: bool = True,
        max_size_bytes: int | None = None,
    ) -> None:
        self.name = name
        self.store = MemoryStore(etcd)
        self.directory = MemoryDirectory()
        self.locks = MemoryPartitionLocks()
        self.base = Base(":memory:")
        self.conflicts = tmp / name
        self._key_invalidation = key_invalidation
        self._max_size_bytes = max_size_bytes
        self._pending: list[str] = []
        self._report: Callable[[str], None] = self._pending.append
        self.start()

    def start(self) -> None:
        self._pending = []
        self.replica = self._open()
        self._seen = self.replica.reconcile()

    def _open(self) -> Replica:
        tools = Tools(self.store, self.base, SystemClock(), self.name, self.conflicts, self._drain)
        return Replica(
            PARTITION,
            self.directory,
            self.locks,
            SEALER,
            tools,
            watch=self._watch,
            key_invalidation=self._key_invalidation,
            max_size_bytes=self._max_size_bytes,
        )

    def _watch(self, report: Callable[[str], None]) -> None:
        self._report = report

    def _drain(self) -> None:
        pending, self._pending = self._pending, []
        for file in pending:
            self._report(file)

    # What SoftHSM does in a process that uses the partition.

    def softhsm_writes(self, file: str, data: bytes) -> None:
        self.directory.put(file, data)
        self.directory.bump()
        self._pending.append(file)

    def softhsm_destroys(self, file: str) -> None:
        self.directory.remove(file)
        self.directory.bump()
        self._pending.append(file)

    # What the module does.

    def create(self, file: str, data: bytes) -> int:
        with self.locks.create(1):
            self.softhsm_writes(file, data)
            return self.replica.commit("create", [{"class": 4}], "test")

    def update(self, file: str, data: bytes) -> int:
        with self.locks.update(1):
            self.softhsm_writes(file, data)
            return self.replica.commit("update", [], "test")

    def destroy(self, file: str) -> int:
        with self.locks.update(1):
            self.softhsm_destroys(file)
            return self.replica.commit("update", [], "test")

    # What the follower does.

    def catch_up(self) -> None:
        with self.store.watch(keys.PREFIX, self._seen + 1) as watch:
            target = self.store.revision()
            if self._seen >= target:
                return
            for batch in watch:
                self._seen = batch.revision
                self.replica.follow(batch.revision, _objects(batch.events))
                if batch.revision >= target:
                    return

    def settle(self) -> None:
        self._drain()
        self.replica.settle()
        self.replica.bump_again()

    def content(self) -> dict[str, bytes]:
        """The directory without local generations."""
        found = {}
        for file in self.directory.files():
            data = self.directory.read(file)
            assert data is not None
            found[file] = data[8:]
        return found

    def kept_conflicts(self) -> list[Path]:
        return sorted(self.conflicts.rglob("*.object"))


def _objects(events: tuple[Event, ...]) -> tuple[Event, ...]:
    return tuple(event for event in events if event.key.startswith(keys.objects(PARTITION)))


def committed(store: MemoryStore) -> dict[str, bytes]:
    """What etcd holds of the partition, without generations."""
    found = {}
    for item in store.scan(keys.objects(PARTITION)):
        content = SEALER.open(item.key, item.value)
        found[item.key.removeprefix(keys.objects(PARTITION))] = content.data[8:]
    return found


def usage(store: MemoryStore) -> Usage:
    """The partition's figures as etcd has them."""
    return decode(store.get(keys.usage(PARTITION)))


def counted(store: MemoryStore) -> Usage:
    """The same, counted from the objects."""
    return count(map(_whole, committed(store).values()), map(_whole, invalidated(store).values()))


def _whole(data: bytes) -> int:
    return len(data) + 8


def invalidated(store: MemoryStore) -> dict[str, bytes]:
    prefix = keys.invalidated(PARTITION)
    return {item.key.removeprefix(prefix): SEALER.open(item.key, item.value).data[8:] for item in store.scan(prefix)}
