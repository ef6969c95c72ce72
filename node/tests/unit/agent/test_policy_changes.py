"""Policies through `partition_apply`: weaker with the officers' approval, stronger without; both recorded."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.approvals import CLUSTER, NOW, approval, declare, request
from support.clocks import StillClock

from keyfold.agent.partitions import Partitions
from keyfold.agent.service import Service
from keyfold.approval.memory import MemoryVerifier
from keyfold.config import Package
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import full_policy
from keyfold.replication import keys
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore

PACKAGES = {
    "ECO": Package("ECO", 1000, "always"),
    "ECO_CC": Package("ECO_CC", 1000, "always", ("CKM_ECDSA",)),
}
LAX = {"key_extract": True, "key_export": True}


def stored(name: str, **policy: bool | int) -> Put:
    row = {"name": name, "package": "ECO", "policy": full_policy(name, policy, 1000), "backup": True}
    return Put(keys.partition(name), json.dumps(row).encode())


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    declare(store)
    store.txn((), [stored("acme"), stored("beta")])
    return store


@pytest.fixture
def partitions(store: MemoryStore, tmp_path: Path) -> Partitions:
    config = SimpleNamespace(node="hsm1", state=tmp_path, cluster_uuid=CLUSTER, packages=PACKAGES)
    registry = SimpleNamespace(sealer=lambda _name: None, rows={})
    service = SimpleNamespace(store=store, clock=StillClock(NOW), config=config, registry=registry)
    return Partitions(cast(Service, service), MemoryVerifier())


def declared(name: str = "acme", package: str = "ECO", **policy: bool | int) -> dict[str, Any]:
    return {"name": name, "package": package, "policy": policy}


def row_of(store: MemoryStore, name: str = "acme") -> dict[str, Any]:
    item = store.get(keys.partition(name))
    assert item is not None
    row: dict[str, Any] = json.loads(item.value)
    return row


def policy_of(store: MemoryStore, name: str = "acme") -> dict[str, Any]:
    policy: dict[str, Any] = row_of(store, name)["policy"]
    return policy


def audited(store: MemoryStore) -> list[dict[str, Any]]:
    return [json.loads(item.value) for item in store.scan(keys.AUDIT_PENDING)]


def signed(partition: str, policy: dict[str, Any], *officers: str) -> dict[str, Any]:
    return approval(request("policy", partition, policy=policy), *(officers or ("ada", "grace")))


def refusal(partitions: Partitions, *rows: dict[str, Any], approvals: tuple[Any, ...] = ()) -> KeyfoldError:
    with pytest.raises(KeyfoldError) as caught:
        partitions.apply(rows, check=False, approvals=approvals)
    return caught.value


def test_a_stronger_policy_needs_nobody_and_is_recorded(store: MemoryStore, partitions: Partitions) -> None:
    partitions.apply([declared(key_import=False)], check=False)
    assert policy_of(store)["key_import"] is False
    (entry,) = audited(store)
    assert (entry["what"], entry["partition"], entry["stronger"]) == ("policy", "acme", ["key_import"])
    assert entry["before"]["policy"]["key_import"] is True
    assert entry["after"]["policy"]["key_import"] is False


def test_a_weaker_policy_without_approval_changes_nothing_and_says_what_to_sign(
    store: MemoryStore, partitions: Partitions
) -> None:
    error = refusal(partitions, declared("beta", key_import=False), declared(**LAX))
    assert error.code == "unapproved"
    assert '"key_export": true' in error.next_step
    assert policy_of(store)["key_export"] is False
    assert policy_of(store, "beta")["key_import"] is True
    assert audited(store) == []


def test_check_mode_says_that_it_needs_approval(store: MemoryStore, partitions: Partitions) -> None:
    reply = partitions.apply([declared(**LAX), declared("beta", key_import=False)], check=True)
    assert [change["needs_approval"] for change in reply["changes"]] == [True, False]
    assert reply["changes"][0]["weaker"] == LAX
    assert policy_of(store)["key_export"] is False


def test_check_mode_looks_at_an_approval_that_is_given(partitions: Partitions) -> None:
    good, short = signed("acme", LAX), signed("acme", LAX, "ada")
    for _ in range(2):
        assert partitions.apply([declared(**LAX)], check=True, approvals=[good])["changes"][0]["needs_approval"]
    with pytest.raises(KeyfoldError, match="signed by ada"):
        partitions.apply([declared(**LAX)], check=True, approvals=[short])


def test_with_approval_it_is_weaker_once_and_the_record_says_who_approved(
    store: MemoryStore, partitions: Partitions
) -> None:
    given = signed("acme", LAX)
    partitions.apply([declared(key_import=False, **LAX)], check=False, approvals=[given])
    assert policy_of(store)["key_export"] is True
    (entry,) = audited(store)
    assert entry["approved_by"] == ["ada", "grace"]
    assert entry["weaker"] == ["key_export", "key_extract"]
    assert entry["stronger"] == ["key_import"]
    partitions.apply([declared(key_import=False)], check=False)
    assert policy_of(store)["key_export"] is False
    assert "was used" in refusal(partitions, declared(key_import=False, **LAX), approvals=(given,)).what


@pytest.mark.parametrize(
    ("partition", "policy"),
    [
        ("beta", LAX),
        ("acme", {"key_extract": True}),
        ("acme", {**LAX, "read_only": False}),
        ("acme", {"key_export": True, "key_extract": False}),
    ],
)
def test_an_approval_of_something_else_does_not_count(
    store: MemoryStore, partitions: Partitions, partition: str, policy: dict[str, Any]
) -> None:
    assert refusal(partitions, declared(**LAX), approvals=(signed(partition, policy),)).code == "unapproved"
    assert policy_of(store)["key_export"] is False


def test_each_partition_has_an_approval_of_its_own(store: MemoryStore, partitions: Partitions) -> None:
    both = (declared(**LAX), declared("beta", **LAX))
    assert refusal(partitions, *both, approvals=(signed("acme", LAX),)).code == "unapproved"
    assert policy_of(store)["key_export"] is False
    partitions.apply(both, check=False, approvals=[signed("beta", LAX), signed("acme", LAX)])
    assert policy_of(store)["key_export"] is policy_of(store, "beta")["key_export"] is True


def test_an_approval_is_used_with_the_change_or_not_at_all(store: MemoryStore, partitions: Partitions) -> None:
    given = signed("acme", LAX)
    real = store.txn

    def somebody_else_first(*arguments: Any, **named: Any) -> Any:
        store.txn = real  # type: ignore[method-assign]
        store.txn((), [stored("acme", max_size_bytes=900)])
        return real(*arguments, **named)

    store.txn = somebody_else_first  # type: ignore[method-assign]
    assert refusal(partitions, declared(**LAX), approvals=(given,)).code == "conflict"
    assert policy_of(store)["key_export"] is False
    partitions.apply([declared(**LAX)], check=False, approvals=[given])
    assert policy_of(store)["key_export"] is True


def test_a_larger_quota_needs_nobody(store: MemoryStore, partitions: Partitions) -> None:
    partitions.apply([declared(max_size_bytes=500)], check=False)
    partitions.apply([declared(max_size_bytes=900)], check=False)
    assert policy_of(store)["max_size_bytes"] == 900


def test_a_package_that_lifts_the_list_of_mechanisms_needs_approval_as_a_weaker_policy_does(
    store: MemoryStore, partitions: Partitions
) -> None:
    partitions.apply([declared(package="ECO_CC")], check=False)
    (entry,) = audited(store)
    assert (entry["what"], entry["stronger"]) == ("partition update", ["package"])
    assert partitions.apply([declared()], check=True)["changes"][0]["weaker"] == {"package": "ECO"}
    error = refusal(partitions, declared(), approvals=(signed("acme", {"package": "ECO"}),))
    assert error.code == "unapproved"
    assert row_of(store)["package"] == "ECO_CC"
    given = approval(request("policy", "acme", package="ECO"), "ada", "grace")
    partitions.apply([declared()], check=False, approvals=[given])
    assert row_of(store)["package"] == "ECO"
    assert [entry["weaker"] for entry in audited(store) if entry.get("approved_by")] == [["package"]]
