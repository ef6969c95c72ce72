"""A node of the backup site for tests: fake agent, store in memory, real age with the plugin's own code."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import age_plugin, approvals
from support.fake_agent import FakeAgent

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.backup.run import Backup
from keyfold.config import Config, load
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.remote.memory import MemoryRemote
from keyfold.restore.order import Order
from keyfold.restore.run import Outcome, Restore
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
ECO = {{ max_size_bytes = 10485760, backup = "always", restore_price = "120.00 EUR" }}
PLATINUM = {{ max_size_bytes = 125829120, backup = "order" }}
"""


class StepClock:
    """Time moves a minute whenever somebody looks; sleeping takes as long as it says."""

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
        self._now += timedelta(seconds=seconds)


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

    def resign(self, made: Manifest, **changes: Any) -> None:
        """What only somebody with the signing key could do: the checks behind the signature must hold by themselves."""
        document = manifest.signed(replace(made, **changes), self.agent.keys.sign)
        self.store.alter(f"{self.agent.cluster_uuid}/{made.set_id}/{manifest.NAME}", lambda _before: document)
        self.agent.records[sets.RECORD_KIND].clear()

    def restore(self) -> Restore:
        state, packages = self.config.state, self.config.packages
        return Restore(ClusterState(self.agent), self.store, state, packages, self.clock, self._safety)

    def _safety(self, partitions: Sequence[str]) -> str:
        made = self.backup().run(partitions, manifest.SAFETY)
        assert made is not None
        return made.set_id

    def preview(
        self, partition: str | None, selection: Selection | None = None, *, set_id: str = "latest", **more: Any
    ) -> Outcome:
        return self.restore().preview(Order(partition, set_id, selection=selection or Selection(), **more))

    def approval(
        self, partition: str | None, selection: Selection | None = None, *, set_id: str = "latest", **more: Any
    ) -> dict[str, Any]:
        """A request as an operator writes it, for the set as the store has it."""
        records = self.agent.records["backup_set"]
        signer = ClusterState(self.agent).identity().signer
        stored, _ = sets.choose(sets.read_all(self.store, signer, records), set_id, records)
        order = Order(partition, stored.set_id, stored.manifest_sha256, selection=selection or Selection(), **more)
        raw = approvals.request("restore", partition, cluster=self.agent.cluster_uuid, **order.fields())
        return approvals.approval(raw, "ada", "grace")

    def apply(
        self, partition: str | None, selection: Selection | None = None, *, set_id: str = "latest", **more: Any
    ) -> Outcome:
        return self.restore().apply(self.approval(partition, selection, set_id=set_id, **more), "operator")


def make_site(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, root: bytes = ROOT, cluster_uuid: str = CLUSTER_UUID
) -> BackupSite:
    """From here on this test's `age` has the keys of this site's cluster."""
    age_plugin.install(tmp_path / "bin", lambda: MemorySystemKeys(root, cluster_uuid), monkeypatch)
    (tmp_path / "keyfold.toml").write_text(_TOML.format(cluster_uuid=cluster_uuid, state=tmp_path / "state"))
    config = load(tmp_path / "keyfold.toml")
    config.state.mkdir(parents=True)
    return BackupSite(FakeAgent(root, cluster_uuid), MemoryRemote(), config, StepClock())
