"""After the operator's drill: its evidence, the weekly one by its timer, one that fails, and the figures about them."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.machines import Machine
from scenario.timers import ended, miss
from scenario.waiting import wait_for

TEXTFILE = "/var/lib/prometheus/node-exporter"


@pytest.fixture
def backing(cluster: Cluster) -> Machine:
    return cluster.node("hsm3")


def figures(machine: Machine, name: str = "keyfold.prom") -> dict[str, float]:
    lines = machine.run("cat", f"{TEXTFILE}/{name}").splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def collected(machine: Machine) -> dict[str, float]:
    # "start" would join a run of the timer that has begun before what is looked for.
    machine.run("systemctl", "restart", "keyfold-metrics.service")
    return figures(machine)


def drills(machine: Machine) -> list[dict[str, Any]]:
    return list(keyfold(machine, "drill", "list")["drills"])


def test_the_operators_drill_passed_and_its_evidence_is_proven(backing: Machine) -> None:
    (row,) = drills(backing)
    assert row["passed"] is True
    assert {one["name"]: one["problem"] for one in row["partitions"]} == {
        "acme": "",
        "keyfold-canary": "",
        "_cluster": "",
    }
    file = f"/var/lib/keyfold/drills/{row['drill_id']}.jsonl"
    assert keyfold(backing, "drill", "verify")["drills"][0]["drill_id"] == row["drill_id"]
    assert keyfold(backing, "drill", "verify", "--file", file)["drills"][0]["passed"] is True
    backing.shell(f"sed 's/hsm3/hsm1/' {file} >/root/forged")
    with pytest.raises(CommandRefused, match="altered"):
        keyfold(backing, "drill", "verify", "--file", "/root/forged")


def test_the_weekly_drill_is_made_up_for_in_its_sandbox(backing: Machine) -> None:
    miss(backing, "keyfold-drill")
    wait_for(partial(ended, backing, "keyfold-drill.service"), "the drill that was missed", 300.0)
    assert [row["passed"] for row in drills(backing)] == [True, True]
    assert backing.shell("ls -A /var/lib/keyfold/spool").split() == ["backup.lock"]


def test_the_figures_are_where_the_collector_reads_them(cluster: Cluster, backing: Machine) -> None:
    found = collected(backing)
    assert found["keyfold_etcd_quorum"] == found["keyfold_agent_up"] == found["keyfold_store_up"] == 1
    assert found["keyfold_drill_last_passed"] == 1
    assert found['keyfold_partition_verified_set_timestamp_seconds{partition="acme"}'] > 1e9
    assert found['keyfold_node_up{node="hsm1"}'] == 1
    assert found["keyfold_backup_differences"] == 0
    assert "keyfold_store_up" not in collected(cluster.nodes[0])
    cluster.store.run("systemctl", "start", "keyfold-expire.service")
    assert figures(cluster.store, "expiry.prom")["keyfold_expiry_held_sets"] == 0


def test_a_collector_that_is_not_root_may_read_them(backing: Machine) -> None:
    assert "keyfold_agent_up" in backing.run("cat", f"{TEXTFILE}/keyfold.prom", user="nobody")


def test_an_agent_that_is_down_is_a_figure(backing: Machine) -> None:
    backing.run("systemctl", "stop", "keyfold-agent.service")
    try:
        found = collected(backing)
        assert (found["keyfold_agent_up"], found["keyfold_etcd_quorum"]) == (0, 0)
    finally:
        backing.run("systemctl", "start", "keyfold-agent.service")


def test_a_damaged_archive_fails_the_drill_and_the_figures_say_so(cluster: Cluster, backing: Machine) -> None:
    newest = keyfold(backing, "backup", "list")["sets"][0]["set_id"]
    (archive,) = cluster.store.shell(f"ls /srv/keyfold/*/{newest}/acme-*.age").split()
    cluster.store.shell(f"cp -p {archive} /root/kept; truncate --size=-1 {archive}")
    try:
        done = backing.attempt("keyfold", "drill", "run", "--json", seconds=600.0)
    finally:
        cluster.store.shell(f"cp -p /root/kept {archive}")
    reply = json.loads(done.stdout)
    assert (done.returncode, reply["code"], reply["drill"]["passed"]) == (8, "refused", False)
    assert "acme is cut short" in reply["what"]
    assert collected(backing)["keyfold_drill_last_passed"] == 0
    keyfold(backing, "drill", "run")
    assert collected(backing)["keyfold_drill_last_passed"] == 1
