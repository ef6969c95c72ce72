"""What goes wrong in one partition, or once, does not end a node's following of etcd."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from support.memory_cluster import SEALER, object_file

from keyfold.clock import SystemClock
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.base import Base
from keyfold.replication.follower import Follower
from keyfold.replication.host import Host
from keyfold.replication.registry import Registry
from keyfold.replication.replica import Tools
from keyfold.replication.sealed import StoredObject
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore
from keyfold.token.directory import TokenDirectory
from keyfold.token.locks import MemoryPartitionLocks, PartitionLocks
from keyfold.token.memory import MemoryDirectory


class HostileDirectory(MemoryDirectory):
    """What its user has put there cannot be listed: no error of Keyfold's own."""

    def files(self) -> Any:
        raise OSError("an errno nobody thought of")


class MemoryHost(Host):
    def __init__(self) -> None:
        self.directories: dict[str, MemoryDirectory] = {}
        self.provision_defects = 0
        self.rounds: list[int] = []

    def check_cluster(self, cluster: Mapping[str, Any]) -> None: ...

    def provision(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self.rounds.append(len(rows))
        if self.provision_defects and len(rows) > 1:
            self.provision_defects -= 1
            raise OSError("no space left on device")

    def provisioned(self) -> Sequence[Mapping[str, Any]]:
        return ()

    def open_partition(self, name: str, token_uuid: str) -> tuple[TokenDirectory, PartitionLocks]:
        return self.directories.setdefault(name, MemoryDirectory()), MemoryPartitionLocks()

    def watch(self, name: str, token_uuid: str, touched: Callable[[str], None]) -> None: ...

    def drain(self) -> None: ...

    def wait_for_changes(self, timeout_seconds: float) -> bool:
        return False

    def data_key(self, epoch: int) -> bytes:
        return bytes(range(32))

    def sign_audit(self, messages: Sequence[bytes], epoch: int) -> list[bytes]:
        return [bytes(64) for _ in messages]

    def conflicts(self) -> int:
        return 0


@pytest.fixture
def host() -> MemoryHost:
    return MemoryHost()


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.txn((), [Put(keys.CLUSTER, b'{"uuid": "u", "epoch": 1}')])
    for name in ("acme", "beta", "system"):
        row = {"name": name, "token_uuid": name, "policy": {"key_invalidation": True}}
        store.txn((), [Put(keys.partition(name), json.dumps(row).encode()), Put(keys.HEAD, b"")])
    key = keys.live("beta", "a.object")
    store.txn((), [Put(key, SEALER.seal(key, StoredObject({}, object_file(b"1")))), Put(keys.HEAD, b"")])
    return store


@pytest.fixture
def registry(store: MemoryStore, host: MemoryHost, tmp_path: Path) -> Registry:
    return Registry(Tools(store, Base(":memory:"), SystemClock(), "hsm1", tmp_path, host.drain), host)


@pytest.fixture
def following(store: MemoryStore, registry: Registry) -> Iterator[Callable[[], Follower]]:
    started: list[tuple[Follower, threading.Thread]] = []

    def start() -> Follower:
        follower = Follower(store, registry, MagicMock(), on_progress=lambda: None)
        thread = threading.Thread(target=follower.run, daemon=True)
        thread.start()
        started.append((follower, thread))
        return follower

    yield start
    for follower, thread in started:
        follower.stop()
        thread.join(timeout=5)
        assert not thread.is_alive()


def until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 5
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.005)


def test_a_partition_whose_files_cannot_be_read_does_not_keep_the_others_from_following(
    host: MemoryHost, registry: Registry, following: Callable[[], Follower]
) -> None:
    host.directories["acme"] = HostileDirectory()
    follower = following()
    until(lambda: follower.delivered > 0)
    assert list(host.directories["beta"].files()) == ["a.object"]
    assert "acme" in registry.replicas["acme"].problem
    assert registry.replicas["acme"].waiting == 1


def test_a_partition_that_could_not_be_compared_is_compared_again(
    host: MemoryHost, registry: Registry, following: Callable[[], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.replication.replica._LEVEL_AGAIN_SECONDS", 0.0)
    host.directories["beta"] = MemoryDirectory()
    host.directories["beta"].disk_full = True
    follower = following()
    until(lambda: follower.delivered > 0)
    beta = registry.replicas["beta"]
    assert beta.problem
    host.directories["beta"].disk_full = False
    beta.level_again()
    assert (beta.problem, beta.waiting, list(host.directories["beta"].files())) == ("", 0, ["a.object"])


def test_an_error_nobody_foresaw_does_not_end_following(
    host: MemoryHost, following: Callable[[], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.replication.follower._DEFECT_SECONDS", 0.0)
    host.provision_defects = 2
    follower = following()
    until(lambda: follower.delivered > 0)
    assert host.provision_defects == 0
    assert not follower.problem


def declare(store: MemoryStore, *names: str) -> None:
    rows = [{"name": name, "token_uuid": name, "policy": {"key_invalidation": True}} for name in names]
    puts = [Put(keys.partition(str(row["name"])), json.dumps(row).encode()) for row in rows]
    store.txn((), [*puts, Put(keys.HEAD, b"")])


def test_partitions_declared_in_a_series_of_transactions_are_provisioned_together(
    store: MemoryStore, registry: Registry, host: MemoryHost
) -> None:
    registry.open_cluster()
    with store.watch(keys.PREFIX, registry.reconcile_all() + 1) as watch:
        follower = Follower(store, registry, MagicMock(), on_progress=lambda: None)
        for number in range(20):
            declare(store, *(f"p{number:02}-{of}" for of in range(5)))
        host.rounds.clear()
        for batch in watch:
            follower._deliver(batch)
            if follower.delivered == store.revision():
                break
    assert host.rounds == [103]
    assert len(registry.replicas) == 103


def test_a_commit_right_after_the_start_waits_for_the_partition(
    store: MemoryStore, registry: Registry, following: Callable[[], Follower]
) -> None:
    found: list[str] = []
    waiting = threading.Thread(target=lambda: found.append(registry.replica("acme", 5.0).name))
    waiting.start()
    following()
    waiting.join(timeout=5.0)
    assert found == ["acme"]


def test_a_stop_that_comes_while_the_watch_is_being_opened_is_a_stop(
    store: MemoryStore, registry: Registry, following: Callable[[], Follower], monkeypatch: pytest.MonkeyPatch
) -> None:
    watch, opening, go_on = store.watch, threading.Event(), threading.Event()

    def slow(*arguments: Any) -> Any:
        opening.set()
        assert go_on.wait(5)
        return watch(*arguments)

    monkeypatch.setattr(store, "watch", slow)
    follower = following()
    assert opening.wait(5)
    follower.stop()
    go_on.set()


def test_before_etcd_has_told_of_any_partition_none_is_said_not_to_exist(registry: Registry) -> None:
    with pytest.raises(KeyfoldError) as caught:
        registry.replica("acme")
    assert caught.value.code == "no_quorum"


def test_without_etcd_the_first_attempt_ends_all_the_same(store: MemoryStore, registry: Registry) -> None:
    """The agent of an isolated node has to say that it is ready."""
    broken = MagicMock(spec=Registry)
    broken.open_cluster.side_effect = KeyfoldError("no_quorum", "no etcd", not_done="-", next_step="-")
    follower = Follower(store, broken, MagicMock(), on_progress=lambda: None)
    thread = threading.Thread(target=follower.run, daemon=True)
    thread.start()
    assert follower.tried.wait(5)
    follower.stop()
    thread.join(timeout=5)
