"""What site.yml made out of bare machines."""

from __future__ import annotations

import json

import pytest
from scenario.cluster import Cluster, keyfold
from scenario.machines import Machine
from scenario.waiting import wait_for

NODES = ["hsm1", "hsm2", "hsm3"]
UNITS = {
    "hsm1": {"etcd", "keyfold-agent", "haproxy", "keyfold-partition-acme.socket"},
    "hsm2": {"etcd", "keyfold-agent", "haproxy", "keyfold-partition-acme.socket"},
    "hsm3": {"etcd", "keyfold-agent", "keyfold-backup.timer"},
    "store1": {"apache2"},
    "app1": {"keyfold-client@acme"},
}


def machine(cluster: Cluster, name: str) -> Machine:
    return next(known for known in (*cluster.nodes, cluster.store, cluster.app) if known.name == name)


@pytest.mark.parametrize(("host", "units"), UNITS.items())
def test_the_services_run_and_will_after_a_boot(cluster: Cluster, host: str, units: set[str]) -> None:
    for action in ("is-active", "is-enabled"):
        machine(cluster, host).run("systemctl", action, *sorted(units))


def test_only_the_backup_site_makes_backups_and_makes_up_for_missed_runs(cluster: Cluster) -> None:
    shown = cluster.node("hsm3").run("systemctl", "show", "-p", "Persistent", "keyfold-backup.timer")
    assert shown.strip() == "Persistent=yes"
    for name in ("hsm1", "hsm2"):
        assert cluster.node(name).attempt("systemctl", "is-enabled", "keyfold-backup.timer").returncode != 0


@pytest.mark.parametrize("host", [*NODES, "store1"])
def test_private_keys_are_their_owners_alone(cluster: Cluster, host: str) -> None:
    found = machine(cluster, host).shell(
        "grep -rl 'PRIVATE KEY-----' /etc/keyfold /etc/etcd 2>/dev/null | xargs stat -c '%n %a %U:%G' || true"
    )
    assert found, "no key was found to look at"
    kept = dict(line.split(" ", 1) for line in found.splitlines())
    # The member runs as user etcd, which may read its key but not replace it; the expirer has a user of its own.
    others = {
        "/etc/etcd/pki/member.key": "640 root:etcd",
        "/etc/keyfold/pki/store-expirer.key": "600 keyfold-expiry:root",
    }
    for path, mode in others.items():
        assert kept.pop(path, mode) == mode
    assert set(kept.values()) <= {"600 root:root"}, kept


@pytest.mark.parametrize("name", NODES)
def test_the_nodes_data_is_closed_to_everybody_else(cluster: Cluster, name: str) -> None:
    modes = {
        "/etc/keyfold/credentials/system.pin": "600 root",
        "/var/lib/etcd/keyfold": "700 etcd",
        "/var/lib/keyfold/agent": "700 root",
    }
    listed = cluster.node(name).run("stat", "-c", "%n %a %U", *modes)
    assert dict(line.split(" ", 1) for line in listed.splitlines()) == modes


@pytest.mark.parametrize("name", NODES)
def test_a_partitions_tokens_belong_to_its_own_user_alone(cluster: Cluster, name: str) -> None:
    home = "/var/lib/keyfold/partitions/acme"
    listed = cluster.node(name).shell(f"stat -c '%a %U' {home} {home}/tokens; stat -c '%a %U' {home}/tokens/*/*")
    modes = listed.splitlines()
    assert modes[:2] == ["700 kf-acme"] * 2
    assert set(modes[2:]) == {"600 kf-acme"}


@pytest.mark.parametrize("name", NODES)
def test_another_user_cannot_read_a_partition_or_speak_to_it(cluster: Cluster, name: str) -> None:
    node = cluster.node(name)
    assert node.attempt("ls", "/var/lib/keyfold/partitions/acme", user="nobody").returncode != 0
    speak = "import socket; socket.socket(socket.AF_UNIX).connect('/run/keyfold/partitions/acme.sock')"
    assert "PermissionError" in node.attempt("python3", "-c", speak, user="nobody").stderr


def test_a_stranger_at_the_agents_socket_is_denied(cluster: Cluster) -> None:
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/keyfold/agent.sock'); "
        's.sendall(b\'{"op":"partition_list"}\\n\'); print(s.recv(4096).decode())'
    )
    assert json.loads(cluster.nodes[0].run("python3", "-c", ask, user="nobody"))["code"] == "denied"


def test_status_is_sane_on_every_node(cluster: Cluster) -> None:
    cluster.await_level()
    for node in cluster.nodes:
        status = keyfold(node, "status")
        assert [row["name"] for row in status["nodes"]] == NODES
        assert status["quorum"] is True
        wait_for(lambda node=node: sum(one["leader"] for one in keyfold(node, "status")["etcd"]) == 1, "one leader")
        assert {"acme", "globex"} <= {row["name"] for row in status["partitions"]}


ERRORS = [
    (3, ("object", "list", "nobody"), "", "nobody"),
    (2, ("partition", "apply"), "no json", "standard input"),
    (2, ("partition", "apply"), '{"partitions":[{"name":"ac me","package":"ECO"}]}', "ac me"),
    (2, ("partition", "apply"), '{"partitions":[{"name":"acme","package":"GOLD"}]}', "GOLD"),
    (
        2,
        ("partition", "apply"),
        '{"partitions":[{"name":"new","package":"ECO"}]}',
        "subscriber_key",
    ),
]


@pytest.mark.parametrize(("code", "command", "given", "named"), ERRORS)
def test_bad_input_is_refused_by_name_with_what_to_do_and_nothing_half_made(
    cluster: Cluster, code: int, command: tuple[str, ...], given: str, named: str
) -> None:
    before = keyfold(cluster.nodes[0], "partition", "list")
    done = cluster.nodes[0].attempt("keyfold", *command, stdin=given)
    assert done.returncode == code, done.stderr
    assert named in done.stderr
    assert "Not done: " in done.stderr
    assert "Next: " in done.stderr
    assert keyfold(cluster.nodes[0], "partition", "list") == before


def test_an_agent_that_is_down_is_named(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    node.run("systemctl", "stop", "keyfold-agent")
    try:
        done = node.attempt("keyfold", "status")
        assert done.returncode == 6
        assert "systemctl status keyfold-agent" in done.stderr
    finally:
        node.run("systemctl", "start", "keyfold-agent")
    cluster.await_level()


def test_without_a_majority_the_answer_says_so(cluster: Cluster) -> None:
    others = cluster.nodes[1:]
    for node in others:
        node.run("systemctl", "stop", "etcd")
    try:
        done = cluster.nodes[0].attempt("keyfold", "status")
        assert done.returncode == 5
        assert "Next: " in done.stderr
    finally:
        for node in others:
            node.run("systemctl", "start", "--no-block", "etcd")
    cluster.await_level()
