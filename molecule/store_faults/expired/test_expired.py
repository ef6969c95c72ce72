"""After the playbook expire.yml: old sets are gone, the newest is whole, and the alarm's figures say so."""

from __future__ import annotations

import json

from scenario.cluster import Cluster, keyfold

STATE = "/var/lib/keyfold-expiry"


def test_only_the_newest_set_is_left_and_it_verifies(cluster: Cluster) -> None:
    (left,) = keyfold(cluster.node("hsm3"), "backup", "verify")["sets"]
    assert left["verified"] is True
    names = cluster.store.shell("ls -d /srv/keyfold/*/*Z-*").split()
    assert [name.rpartition("/")[2] for name in names] == [left["set_id"]]


def test_a_restore_from_what_is_left_can_be_previewed(cluster: Cluster) -> None:
    assert keyfold(cluster.node("hsm3"), "restore", "preview", "--partition", "acme")["changed"] is False


def test_the_next_set_follows_in_the_chain(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    keyfold(node, "backup", "run")
    assert [one["problem"] for one in keyfold(node, "backup", "verify")["sets"]] == [None, None]


def test_status_and_figures_are_there_for_the_alarm(cluster: Cluster) -> None:
    status = json.loads(cluster.store.run("cat", f"{STATE}/status.json"))
    assert status["ok"] is True
    assert len(status["removed"]) >= 3
    figures = cluster.store.run("cat", f"{STATE}/expiry.prom")
    assert "keyfold_expiry_held_sets 0\n" in figures


def test_expiry_runs_daily_and_nothing_else_of_the_package_does(cluster: Cluster) -> None:
    units = cluster.store.shell("systemctl list-unit-files 'keyfold*' --state=enabled --no-legend | cut -d' ' -f1")
    assert units.split() == ["keyfold-expire.timer"]
    assert cluster.store.run("systemctl", "is-active", "keyfold-expire.timer").strip() == "active"


def test_the_store_host_has_no_secret_of_the_cluster(cluster: Cluster) -> None:
    assert cluster.store.run("ls", "/etc/keyfold").split() == ["expiry.toml", "pki"]
