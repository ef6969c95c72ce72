"""A restore leaves a trace of every transaction."""

from __future__ import annotations

from datetime import UTC, datetime
from unittest.mock import MagicMock

from support.memory_cluster import SEALER, object_file

from keyfold.agent.restoring import Restoring
from keyfold.replication import keys
from keyfold.replication.sealed import StoredObject
from keyfold.store.memory import MemoryStore


def test_two_transactions_of_one_moment_have_an_audit_entry_each() -> None:
    service = MagicMock(store=MemoryStore())
    service.clock.utc.return_value = datetime(2026, 11, 24, tzinfo=UTC)
    service.config.node = "hsm1"
    service.registry.sealer.return_value = SEALER
    content = StoredObject({}, object_file(b"1"))
    objects = {f"{number:03}.object": content for number in range(49)}
    partitions = MagicMock()
    partitions.row.return_value = {"policy": {"max_size_bytes": 1_000_000}}
    Restoring(service, partitions).restore("acme", objects, "REQ-1", None)
    assert len(list(service.store.scan(keys.AUDIT_PENDING))) == 2
