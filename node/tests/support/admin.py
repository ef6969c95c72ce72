"""One node's agent without threads or files: what its administrator's operations stand on."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from support.approvals import declare
from support.clocks import StillClock
from support.memory_cluster import PARTITION, SEALER, Node

from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller
from keyfold.agent.shadows import Shadows
from keyfold.approval.gate import Gate
from keyfold.approval.memory import MemoryVerifier
from keyfold.partition.policy import full_policy
from keyfold.replication import keys
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryEtcd

ROOT = Caller(0, None)
QUOTA = 1_000_000


class Admin:
    """`node` has partition acme; officers are declared; `shadows` serves reactivate and purge."""

    def __init__(self, tmp_path: Path, **policy: Any) -> None:
        self.etcd = MemoryEtcd()
        self.clock = StillClock()
        self.policy = full_policy(PARTITION, policy, QUOTA)
        self.node = Node("hsm1", self.etcd, tmp_path, max_size_bytes=QUOTA)
        self.store = self.node.store
        declare(self.store)
        row = {"name": PARTITION, "policy": self.policy}
        self.store.txn((), [Put(keys.partition(PARTITION), json.dumps(row).encode())])
        self.registry = SimpleNamespace(
            sealer=lambda _: SEALER,
            rows={PARTITION: row},
            policy=lambda _: self.policy,
            replicas={},
        )
        self.service: Any = SimpleNamespace(
            store=self.store,
            base=self.node.base,
            clock=self.clock,
            registry=self.registry,
            config=SimpleNamespace(node="hsm1"),
        )
        gate = Gate(self.store, self.clock, MemoryVerifier())
        self.shadows = Shadows(self.service, Partitions(self.service), gate)

    def reactivate(self, approval: Any = None, **request: Any) -> dict[str, Any]:
        return dict(self.shadows.reactivate(ROOT, {"partition": PARTITION, "approval": approval, **request}))  # type: ignore[arg-type]

    def purge(self, approval: Any = None, **request: Any) -> dict[str, Any]:
        return dict(self.shadows.purge(ROOT, {"partition": PARTITION, "approval": approval, **request}))  # type: ignore[arg-type]

    def notes(self) -> list[dict[str, Any]]:
        return [json.loads(item.value) for item in self.store.scan(keys.AUDIT_PENDING)]
