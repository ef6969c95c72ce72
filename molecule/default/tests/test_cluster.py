"""What site.yml made out of bare machines."""

from __future__ import annotations

import json

import pytest
from scenario.cluster import Cluster, keyfold
from scenario.machines import Machine

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


@pytest.mark.parametrize("name", NODES)
def test_keys_and_data_are_closed_to_everybody_else(cluster: Cluster, name: str) -> None:
    node = cluster.node(name)
    open_to_others = node.shell(
        "find /etc/keyfold/pki /etc/keyfold/credentials /etc/etcd/pki /var/lib/etcd /var/lib/keyfold/agent "
        "-type f \\( -name '*.key' -o -name '*.pem' -o -name '*.pin' -o -path '/var/lib/*' \\) "
        "! -name crl.pem -perm /007 2>/dev/null || true"
    )
    assert open_to_others == ""
    modes = node.run("stat", "-c", "%a %U %n", "/var/lib/etcd/keyfold", "/etc/keyfold/credentials/system.pin")
    assert modes.splitlines()[0].startswith("700 etcd")
    assert modes.splitlines()[1].startswith("600 root")


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


@pytest.mark.parametrize("name", NODES)
def test_certificates_are_the_kind_they_are_for(cluster: Cluster, name: str) -> None:
    node = cluster.node(name)
    subject = "openssl x509 -noout -subject -in {}"
    assert "CN=" not in node.shell(subject.format("/etc/keyfold/pki/etcd.crt"))
    assert "CN=" not in node.shell(subject.format("/etc/etcd/pki/member.crt"))
    if name != "hsm3":
        assert f"OU=node, CN={name}" in node.shell(subject.format("/etc/keyfold/pki/access.pem"))


@pytest.mark.parametrize(("host", "port"), [("hsm1", 2379), ("hsm1", 2380), ("hsm1", 9443), ("store1", 443)])
def test_every_listener_wants_tls_and_a_certificate(cluster: Cluster, host: str, port: int) -> None:
    plain = f"curl --silent --max-time 5 http://{host}:{port}/ || echo refused"
    nobody = f"curl --silent --insecure --max-time 5 https://{host}:{port}/health || echo refused"
    assert "refused" in cluster.app.shell(nobody) or "curl: not found" in cluster.app.shell(nobody)
    assert "true" not in cluster.app.shell(plain)


def test_status_is_sane_on_every_node(cluster: Cluster) -> None:
    cluster.await_level()
    for node in cluster.nodes:
        status = keyfold(node, "status")
        assert [row["name"] for row in status["nodes"]] == NODES
        assert sum(member["leader"] for member in status["etcd"]) == 1
        assert [row["name"] for row in status["partitions"]] == ["acme", "globex"]


ERRORS = [
    (3, ("object", "list", "nobody"), "", "nobody"),
    (2, ("partition", "apply"), "no json", "standard input"),
    (2, ("partition", "apply"), '{"partitions":[{"name":"ac me","package":"ECO"}]}', "ac me"),
    (2, ("partition", "apply"), '{"partitions":[{"name":"acme","package":"GOLD"}]}', "GOLD"),
    (
        2,
        ("partition", "apply"),
        '{"partitions":[{"name":"new","package":"ECO","initial_pin":"weakpin"}]}',
        "initial_pin",
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
    assert "weakpin" not in done.stderr + done.stdout
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
