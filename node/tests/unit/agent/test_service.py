"""The agent's own loops keep going."""

from __future__ import annotations

import threading
from pathlib import Path
from unittest.mock import MagicMock

from keyfold.agent.service import Service
from keyfold.clock import SystemClock
from keyfold.config import Config
from keyfold.replication.base import Base
from keyfold.replication.host import Host
from keyfold.replication.replica import Replica
from keyfold.store import StoreConfig
from keyfold.store.memory import MemoryStore


def made(tmp_path: Path, host: Host) -> Service:
    config = Config(
        cluster_uuid="u",
        cluster_name="test",
        node="hsm1",
        site="s",
        site_role="primary",
        etcd=StoreConfig(("http://127.0.0.1:1",)),
        store=None,
        packages={},
        state=tmp_path,
        run=tmp_path,
    )
    return Service(config, MemoryStore(), host, Base(":memory:"), SystemClock())


def test_an_expiry_that_was_refused_is_the_nodes_problem(tmp_path: Path) -> None:
    service = made(tmp_path, MagicMock(spec=Host))
    service.follower.problem, service.expirer.problem = "", "invalidated objects do not expire: the clock went back"
    assert service.problem == "invalidated objects do not expire: the clock went back"


def test_a_partition_that_cannot_be_attended_to_does_not_keep_the_next_from_it(tmp_path: Path) -> None:
    host, settled = MagicMock(spec=Host), threading.Event()
    host.conflicts.return_value = 0
    service = made(tmp_path, host)
    broken, fine = (MagicMock(spec=Replica, problem="", waiting=0, object_count=0, unsettled=True) for _ in range(2))
    broken.name, fine.name = "acme", "beta"
    broken.settle.side_effect = ValueError("a file name nobody thought of")
    fine.settle.side_effect = settled.set
    service.registry.replicas = {"acme": broken, "beta": fine}
    service.start()
    try:
        assert settled.wait(2)
    finally:
        service.stop()
