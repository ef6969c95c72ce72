"""A node of the backup site for tests: fake agent, store in memory, real age with the real plugin."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support import age_plugin
from support.fake_agent import FakeAgent

from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.backup.run import Backup
from keyfold.config import Config, load
from keyfold.remote.memory import MemoryRemote
from keyfold.restore.run import Outcome, Request, Restore
from keyfold.restore.select import Selection

ROOT = bytes(range(32))
CLUSTER_UUID = "11111111-2222-4333-8444-555555555555"
_TOML = """
[cluster]
uuid = "{cluster_uuid}"
name = "test"
[node]
name = "hsm3"
site = "backup"
site_role = "backup"
[etcd]
endpoints = ["https://hsm3:2379"]
ca = "/nowhere/ca.crt"
cert = "/nowhere/etcd.crt"
key = "/nowhere/etcd.key"
[paths]
state = "{state}"
run = "{state}/run"
[packages]
SBX = {{ max_size_bytes = 10485760, backup = "never" }}
ECO = {{ max_size_bytes = 10485760, backup = "always" }}
PLATINUM = {{ max_size_bytes = 125829120, backup = "order" }}
"""


class StepClock:
    """Time moves a minute whenever somebody looks; sleeping takes none."""

    def __init__(self) -> None:
        self._now = datetime(2026, 11, 23, 2, 30, tzinfo=UTC)
        self.slept: list[float] = []

    def utc(self) -> datetime:
        self._now += timedelta(minutes=1)
        return self._now

    def monotonic(self) -> float:
        return self._now.timestamp()

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)


@dataclass
class BackupSite:
    agent: FakeAgent
    store: MemoryRemote
    config: Config
    clock: StepClock

    @property
    def spool(self) -> Path:
        return self.config.state / "spool"

    def backup(self) -> Backup:
        return Backup(
            ClusterState(self.agent),
            self.store,
            lambda message, epoch: self.agent.keys.sign(message),
            self.config,
            self.clock,
        )

    def run(self, *partitions: str) -> Manifest:
        made = self.backup().run(partitions)
        assert made is not None
        return made

    def restore(self) -> Restore:
        return Restore(ClusterState(self.agent), self.store, self.config.state, self.clock)

    def preview(self, partition: str, selection: Selection | None = None, *, set_id: str = "latest") -> Outcome:
        return self.restore().preview(Request(partition, set_id, selection or Selection()))

    def apply(self, partition: str, selection: Selection | None = None, *, set_id: str = "latest") -> Outcome:
        return self.restore().apply(Request(partition, set_id, selection or Selection()), "REQ-1", "operator")


def make_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: bytes = ROOT, cluster_uuid: str = CLUSTER_UUID
) -> BackupSite:
    """From here on this test's `age` has the keys of this site's cluster."""
    age_plugin.install(tmp_path / "bin", root, cluster_uuid, monkeypatch)
    (tmp_path / "keyfold.toml").write_text(_TOML.format(cluster_uuid=cluster_uuid, state=tmp_path / "state"))
    config = load(tmp_path / "keyfold.toml")
    config.state.mkdir(parents=True)
    return BackupSite(FakeAgent(root, cluster_uuid), MemoryRemote(), config, StepClock())
