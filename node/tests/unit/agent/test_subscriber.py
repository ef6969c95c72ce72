"""What a partition's own processes see of it, and choose for it; nothing of any other."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any
from unittest.mock import MagicMock

import pytest
from support.memory_cluster import SEALER, object_file

from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller
from keyfold.agent.subscriber import SubscriberOperations
from keyfold.errors import KeyfoldError
from keyfold.partition.choice import keeps_destroyed
from keyfold.partition.plan import plan
from keyfold.partition.policy import DEFAULT_POLICY
from keyfold.replication import keys
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Usage
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore

ACME, BETA, ROOT = Caller(990, "acme"), Caller(991, "beta"), Caller(0, None)
ROW = {
    "name": "acme",
    "package": "ECO",
    "backup": True,
    "policy": {**DEFAULT_POLICY, "max_size_bytes": 1000},
    "subscriber_key": "age1…",
}


def put(store: MemoryStore, key: str, value: Any) -> None:
    store.txn((), [Put(key, json.dumps(value).encode())])


def keep(store: MemoryStore, key: str, label: str | None, data: bytes = b"1") -> None:
    """An object; without a label the token object."""
    meta = {"class": None if label is None else 4, "label": label and label.encode().hex(), "id": None}
    store.txn((), [Put(key, SEALER.seal(key, StoredObject(meta, object_file(data))))])


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    for name in ("acme", "beta"):
        put(store, keys.partition(name), {**ROW, "name": name})
        store.txn((), [Put(keys.usage(name), Usage(2, 120, 1, 70).encode())])
        keep(store, keys.live(name, "0.object"), None)
        keep(store, keys.live(name, "1.object"), f"{name}-live")
        keep(store, keys.invalidated(name, "2.object"), f"{name}-gone", b"22")
        put(store, keys.records("handover", name), {"user": f"for {name}", "user_sealed_to": "k", "so": "officers'"})
    for day, names in ((14, ("acme",)), (21, ("acme", "beta")), (22, ("beta",)), (23, ("acme",))):
        created = f"2026-11-{day}T02:30:00.000000Z"
        record = {"set_id": f"set-{day}", "created": created, "verified": True, "partitions": names}
        put(store, keys.records("backup_set", str(day)), record)
    return store


@pytest.fixture
def service(store: MemoryStore) -> MagicMock:
    service = MagicMock(store=store)
    service.clock.utc.return_value = datetime(2026, 11, 25, tzinfo=UTC)
    service.config.node = "hsm1"
    service.registry.sealer.return_value = SEALER
    return service


@pytest.fixture
def ask(service: MagicMock) -> Any:
    partitions = Partitions(service)
    table = SubscriberOperations(service, partitions).table()

    def call(op: str, caller: Caller = ACME, **fields: Any) -> Any:
        return table[f"subscriber_{op}"](caller, fields)

    return call


def test_a_request_that_names_another_partition_is_about_its_callers(ask: Any) -> None:
    for op in ("policy", "quota", "objects", "restore_points", "handover"):
        assert ask(op, ACME, partition="beta")["partition"] == "acme"
    assert [row["label"] for row in ask("objects", ACME, partition="beta")["objects"]] == [b"acme-live".hex()]


@pytest.mark.parametrize("op", ["policy", "quota", "objects", "restore_points", "handover", "invalidation", "note"])
def test_the_administrator_has_no_partition_of_its_own(ask: Any, op: str) -> None:
    with pytest.raises(KeyfoldError) as denied:
        ask(op, ROOT, partition="acme")
    assert denied.value.code == "denied"


def test_live_and_invalidated_objects_are_told_apart(ask: Any) -> None:
    assert [row["label"] for row in ask("objects", invalidated=True)["objects"]] == [b"acme-gone".hex()]


def test_quota_counts_live_and_invalidated_bytes_apart_and_both(ask: Any) -> None:
    quota = ask("quota")
    assert (quota["objects"], quota["live_bytes"]) == (1, 120)
    assert (quota["invalidated"], quota["invalidated_bytes"]) == (1, 70)
    assert quota["free_bytes"] == 1000 - 120 - 70


def test_restore_points_are_the_sets_with_the_partition_that_are_kept_newest_first(ask: Any) -> None:
    points = ask("restore_points")["restore_points"]
    assert [point["set_id"] for point in points] == ["set-23", "set-21"]
    assert points[0] == {"set_id": "set-23", "created": "2026-11-23T02:30:00.000000Z", "verified": True}


def test_the_subscriber_gets_the_user_pin_as_it_was_sealed_and_never_the_so_pin(ask: Any) -> None:
    reply = ask("handover")
    assert reply["user"] == "for acme"
    assert "officers'" not in str(reply)


def test_opting_out_and_in_is_recorded_with_who_and_when_in_the_same_transaction(ask: Any, store: MemoryStore) -> None:
    out = ask("invalidation", keep=False)
    assert (out["changed"], out["keeps_destroyed"]) == (True, False)
    item = store.get(keys.partition("acme"))
    assert item is not None
    row = json.loads(item.value)
    choice = {"key_invalidation": False, "at": "2026-11-25T00:00:00.000000Z", "by": "subscriber of acme"}
    assert row["subscriber_choice"] == choice
    assert not keeps_destroyed(row)
    (entry,) = store.scan(keys.AUDIT_PENDING)
    noted = json.loads(entry.value)
    assert (noted["what"], noted["who"], noted["partition"]) == ("invalidation opt-out", "subscriber of acme", "acme")
    assert entry.mod_revision == item.mod_revision == out["revision"]
    assert ask("invalidation", keep=False)["changed"] is False
    assert ask("invalidation", keep=True)["changed"] is True
    assert ask("policy")["keeps_destroyed"] is True
    assert ask("policy", BETA)["choice"] is None


def test_the_choice_survives_the_inventory_and_is_no_drift(ask: Any, store: MemoryStore) -> None:
    from keyfold.config import Package

    ask("invalidation", keep=False)
    item = store.get(keys.partition("acme"))
    assert item is not None
    row = json.loads(item.value)
    (change,) = plan([{"name": "acme", "package": "ECO"}], {"acme": row}, {"ECO": Package("ECO", 1000, "always")})
    assert change.action == "none"
    (other,) = plan(
        [{"name": "acme", "package": "ECO", "policy": {"key_extract": True}}],
        {"acme": row},
        {"ECO": Package("ECO", 1000, "always")},
    )
    assert not keeps_destroyed({**row, **other.after})


def test_a_choice_that_is_none_is_refused(ask: Any, store: MemoryStore) -> None:
    for keep_ in (None, 0, "no"):
        with pytest.raises(KeyfoldError) as refused:
            ask("invalidation", keep=keep_)
        assert refused.value.code == "invalid"
    for fields in ({"what": "purge", "objects": 1}, {"what": "export", "objects": -1}, {"what": "export"}):
        with pytest.raises(KeyfoldError):
            ask("note", **fields)
    assert list(store.scan(keys.AUDIT_PENDING)) == []


def test_of_two_changes_at_one_moment_one_gets_an_error(ask: Any, service: MagicMock, store: MemoryStore) -> None:
    before = store.get(keys.partition("acme"))
    put(store, keys.partition("acme"), {**ROW, "package": "SBX"})
    service.store = MagicMock(wraps=store)
    service.store.get.return_value = before
    table = SubscriberOperations(service, Partitions(service)).table()
    with pytest.raises(KeyfoldError) as lost:
        table["subscriber_invalidation"](ACME, {"keep": False})
    assert lost.value.code == "conflict"


def test_an_export_is_noted_for_its_own_partition(ask: Any, store: MemoryStore) -> None:
    ask("note", what="export", objects=3, partition="beta")
    (entry,) = store.scan(keys.AUDIT_PENDING)
    noted = json.loads(entry.value)
    assert (noted["what"], noted["partition"], noted["objects"]) == ("export", "acme", 3)
