"""What a subscriber sees of the own partition, chooses for it, and never sees of another's."""

from __future__ import annotations

import json
import subprocess

import pytest
from scenario.application import Application, Pkcs11Error
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.leaks import ALLOWED, where
from scenario.machines import ROOT, client, controller_directory
from scenario.self_service import SelfService
from scenario.waiting import wait_for

from lab.handover import user_pin

NEW_PIN = "rotated-pin-of-acme"


@pytest.fixture
def acme(cluster: Cluster) -> SelfService:
    return SelfService(cluster.app, "acme")


@pytest.fixture
def globex(cluster: Cluster) -> SelfService:
    return SelfService(cluster.app, "globex")


def test_policy_and_quota_are_those_of_the_cluster(cluster: Cluster, acme: SelfService) -> None:
    rows = {row["name"]: row for row in keyfold(cluster.nodes[0], "partition", "list")["partitions"]}
    shown = acme.ask("policy")
    assert (shown["policy"], shown["package"]) == (rows["acme"]["policy"], "ECO")
    quota = acme.ask("quota")
    assert quota["max_size_bytes"] == rows["acme"]["policy"]["max_size_bytes"]
    assert quota["live_bytes"] == rows["acme"]["live_bytes"]
    assert "key_extract" in acme.text("policy")


def test_objects_live_and_destroyed_are_listed_by_label(cluster: Cluster, acme: SelfService, tag: str) -> None:
    with cluster.subscriber() as application:
        for label in (f"stays-{tag}", f"goes-{tag}"):
            application.call("generate_secret", label=label)
        application.call("destroy", cls="secret", label=f"goes-{tag}")

    def labels(*options: str) -> set[str]:
        return {
            bytes.fromhex(row["label"]).decode() for row in acme.ask("objects", *options)["objects"] if row["label"]
        }

    assert f"stays-{tag}" in labels() - labels("--invalidated")
    assert f"goes-{tag}" in labels("--invalidated") - labels()
    assert f"goes-{tag}" in acme.text("objects", "--invalidated")


def test_restore_points_are_the_backup_sets_with_the_partition(
    cluster: Cluster, acme: SelfService, globex: SelfService
) -> None:
    made = keyfold(cluster.node("hsm3"), "backup", "run", "--partition", "acme", seconds=120)["set"]["set_id"]
    assert acme.ask("restore-points")["restore_points"][0]["set_id"] == made
    assert globex.ask("restore-points")["restore_points"] == []


def test_opting_out_makes_a_destroy_final_on_every_node_and_is_on_record(
    cluster: Cluster, acme: SelfService, tag: str
) -> None:
    revision = acme.ask("invalidation", "opt-out")["revision"]
    try:
        cluster.await_level()
        with cluster.subscriber() as application:
            application.call("generate_secret", label=f"final-{tag}")
            application.call("destroy", cls="secret", label=f"final-{tag}")
        kept = keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"]
        assert f"final-{tag}".encode().hex() not in {row["label"] for row in kept}
        choice = acme.ask("policy")["choice"]
        assert (choice["key_invalidation"], choice["by"]) == (False, "subscriber of acme")
        assert choice["at"]
        rows = {row["name"]: row for row in keyfold(cluster.node("hsm3"), "partition", "list")["partitions"]}
        assert rows["acme"]["subscriber_choice"] == choice
        assert acme.ask("invalidation", "opt-out")["changed"] is False
    finally:
        assert acme.ask("invalidation", "opt-in")["revision"] > revision
    cluster.await_level()


def test_a_rotated_pin_is_in_force_on_every_node_and_nobody_but_the_subscriber_saw_it(
    cluster: Cluster, acme: SelfService
) -> None:
    first = cluster.pin()
    assert acme.ask("pin", "rotate", stdin=f"{first}\n{NEW_PIN}\n")["changed"] is True
    try:
        cluster.await_agreement()
        for node in cluster.nodes:
            with Application.on_node(node, "acme") as application:
                application.call("login", pin=NEW_PIN)
                with pytest.raises(Pkcs11Error, match="CKR_PIN_INCORRECT"):
                    application.call("login", pin=first)
        for machine in (*cluster.nodes, cluster.store, cluster.app):
            assert where(machine, [NEW_PIN, first]) - ALLOWED == set(), machine.name
    finally:
        acme.ask("pin", "rotate", stdin=f"{NEW_PIN}\n{first}\n")


def test_a_wrong_or_weak_pin_changes_nothing_and_is_not_repeated(cluster: Cluster, acme: SelfService) -> None:
    for given, code in (("wrong-pin-1\nanother-pin-1\n", "denied"), (f"{cluster.pin()}\nshort\n", "invalid")):
        with pytest.raises(CommandRefused) as refused:
            acme.ask("pin", "rotate", stdin=given)
        assert refused.value.code == code
        assert not any(pin in str(refused.value) for pin in given.split())
    with cluster.subscriber() as application:
        assert application.labels("secret") is not None


def test_the_first_pin_reaches_the_subscriber_sealed_and_is_nowhere_in_clear(
    cluster: Cluster, acme: SelfService
) -> None:
    home = controller_directory()
    identity = ["age", "--decrypt", "--identity", str(home / "subscriber_key")]
    opened = subprocess.run(identity, input=acme.text("pin", "initial"), capture_output=True, text=True, check=True)
    assert opened.stdout.strip() == user_pin(home, "acme")
    pins = [cluster.pin(name) for name in ("acme", "globex")]
    for machine in (*cluster.nodes, cluster.store, cluster.app):
        assert where(machine, pins) == set(), machine.name
    kept = [path for path in (*home.rglob("*"), *(ROOT / ".keyfold/logs").rglob("*")) if path.is_file()]
    assert home / "handover/acme.user.age" in kept
    assert [path for path in kept if any(pin.encode() in path.read_bytes() for pin in pins)] == []


def test_another_partitions_user_does_not_get_into_the_tunnel(cluster: Cluster) -> None:
    with pytest.raises(CommandRefused) as refused:
        SelfService(cluster.app, "acme", user="kf-globex").ask("policy")
    assert refused.value.code in ("denied", "not_found", "agent_down")


def test_a_certificate_shows_its_own_partition_whatever_is_asked_for(cluster: Cluster) -> None:
    """globex's certificate on the wire, acme's name in the request and in the name asked for."""
    request = '{"op":"policy","partition":"acme"}\n{"op":"objects","partition":"acme"}\n'
    for name, shown in (("keyfold-subscriber", 2), ("acme", 0), ("s_acme", 0)):
        said = cluster.app.run(
            "python3", "-c", client("ask_over_tls.py"), "globex", name, user="kf-globex", stdin=request
        )
        replies = [json.loads(line) for line in said.splitlines() if line.startswith("{")]
        assert [reply["partition"] for reply in replies] == ["globex"] * shown, name


def test_garbage_ends_its_own_connection_and_the_next_is_served(cluster: Cluster, acme: SelfService) -> None:
    path = "/run/keyfold-client/acme/subscriber.sock"
    speak = (
        "import socket, sys; s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1]); s.settimeout(20); "
        "s.sendall(bytes(range(256)) * 64 + b'\\n'); print(s.recv(65536).decode())"
    )
    reply = json.loads(cluster.app.run("python3", "-c", speak, path, user="kf-acme"))
    assert reply["code"] == "invalid"
    assert acme.ask("policy")["partition"] == "acme"


def test_its_process_is_confined_and_ends_when_nobody_asks(cluster: Cluster, acme: SelfService) -> None:
    node = cluster.node("hsm1")
    acme.ask("policy")
    unit = "keyfold-subscriber@acme.service"
    verdict = node.attempt("systemd-analyze", "security", "--threshold=20", "--no-pager", unit)
    assert verdict.returncode == 0, verdict.stdout
    assert node.run("systemctl", "show", "--property=User", "--value", unit).strip() == "kf-acme"

    def ended() -> bool:
        return node.attempt("systemctl", "is-active", "--quiet", unit).returncode != 0

    wait_for(ended, "the end of an idle process", 60)
    assert node.run("systemctl", "is-active", "keyfold-subscriber@acme.socket").strip() == "active"
    assert acme.ask("policy")["partition"] == "acme"
