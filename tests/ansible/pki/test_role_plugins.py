"""Which certificates an inventory needs, and how they get from the controller into a task."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from keyfold_pki import PROFILES

Load = Callable[[str], ModuleType]

HSM1 = {"inventory_hostname": "hsm1", "ansible_host": "10.0.0.1", "keyfold_site_role": "primary"}
HSM3 = {"inventory_hostname": "hsm3", "keyfold_site_role": "backup"}
STORE1 = {"inventory_hostname": "store1"}


@pytest.fixture
def rows(load_plugin: Load) -> dict[str, dict[str, Any]]:
    filters = load_plugin("filter_plugins/keyfold_pki.py").FilterModule().filters()
    listed = filters["keyfold_pki_certificates"]([HSM1, HSM3], [STORE1], [{"name": "acme", "package": "ECO"}], 397)
    return {row["name"]: row for row in listed}


def test_an_inventory_gets_these_certificates(rows: dict[str, dict[str, Any]]) -> None:
    assert set(rows) == {
        "etcd-hsm1",
        "etcd-client-hsm1",
        "access-hsm1",
        "etcd-hsm3",
        "etcd-client-hsm3",
        "store-writer-hsm3",
        "store-reader-hsm3",
        "store-store1",
        "store-expirer-store1",
        "partition-acme",
    }


def test_every_row_fits_its_profile(rows: dict[str, dict[str, Any]]) -> None:
    for row in rows.values():
        profile = PROFILES[row["profile"]]
        assert bool(row.get("common_name")) == profile.named
        assert bool(row.get("sans")) or not profile.server
        assert row["days"] == 397


def test_servers_carry_the_names_they_are_reached_under(rows: dict[str, dict[str, Any]]) -> None:
    assert set(rows["access-hsm1"]["sans"]) == {"hsm1", "10.0.0.1"}
    assert set(rows["etcd-hsm1"]["sans"]) == {"hsm1", "10.0.0.1", "localhost", "127.0.0.1"}
    assert rows["store-store1"]["sans"] == ["store1"]


def test_a_partitions_common_name_is_the_partition(rows: dict[str, dict[str, Any]]) -> None:
    assert rows["partition-acme"]["common_name"] == "acme"


def test_a_subscribers_keys_belong_to_the_partitions_user(load_plugin: Load) -> None:
    files = load_plugin("filter_plugins/keyfold_pki.py").partition_files(["acme"])
    keys = [row for row in files if row["name"].endswith(".key")]
    assert keys == [
        {
            "name": "acme.key",
            "mode": "0600",
            "owner": "kf-acme",
            "sources": ["issued/partition-acme/current/tls.key"],
        }
    ]


def test_sources_are_put_one_after_the_other_and_a_missing_one_means_not_issued_yet(
    load_plugin: Load, tmp_path: Path
) -> None:
    filled = load_plugin("lookup_plugins/keyfold_pki_pem.py").filled
    (tmp_path / "a").write_text("first\n")
    (tmp_path / "b").write_text("second\n")
    both = {"name": "ab.pem", "mode": "0600", "sources": ["a", "b"]}
    assert filled(both, tmp_path) == {"name": "ab.pem", "mode": "0600", "pem": "first\nsecond\n"}
    (tmp_path / "b").unlink()
    assert filled(both, tmp_path)["pem"] == ""
