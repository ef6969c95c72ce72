"""Two subscribers on the same nodes: neither reaches the other's keys, whatever it says or holds."""

from __future__ import annotations

import json

import pytest
from scenario.application import KEYFOLD, REMOTE, Application, Pkcs11Error
from scenario.cluster import Cluster

NODES = ["hsm1", "hsm2", "hsm3"]


@pytest.mark.parametrize("name", NODES)
def test_a_subscribers_process_cannot_open_anothers_files_or_socket(cluster: Cluster, name: str) -> None:
    node = cluster.node(name)
    home = "/var/lib/keyfold/partitions/acme"
    assert node.attempt("ls", home, user="kf-globex").returncode != 0
    assert node.attempt("cat", f"{home}/update.lock", user="kf-globex").returncode != 0
    speak = "import socket; socket.socket(socket.AF_UNIX).connect('/run/keyfold/partitions/acme.sock')"
    assert "PermissionError" in node.attempt("python3", "-c", speak, user="kf-globex").stderr


def test_a_process_of_one_partition_commits_to_its_own_whatever_it_names(cluster: Cluster) -> None:
    """The agent goes by the caller's uid."""
    ask = (
        "import socket; s = socket.socket(socket.AF_UNIX); s.connect('/run/keyfold/agent.sock'); "
        's.sendall(b\'{"op":"object_list","partition":"acme"}\\n\'); print(s.recv(4096).decode())'
    )
    reply = json.loads(cluster.nodes[0].run("python3", "-c", ask, user="kf-globex"))
    assert (reply["ok"], reply["code"]) == (False, "denied")


def test_a_token_is_not_found_with_another_partitions_configuration(cluster: Cluster) -> None:
    conf = {"SOFTHSM2_CONF": "/var/lib/keyfold/partitions/globex/softhsm2.conf"}
    with (
        Application(cluster.nodes[0], "acme", KEYFOLD, conf) as application,
        pytest.raises(Pkcs11Error),
    ):
        application.call("login", pin=cluster.pin("acme"))


def test_a_subscribers_tunnel_shows_its_own_token_alone(cluster: Cluster) -> None:
    """globex's certificate, acme's name and PIN: the certificate decides."""
    with cluster.subscriber("globex") as owner:
        owner.call("generate_secret", label="globex-only")
        assert "globex-only" in owner.labels("secret")
    tunnel = {"P11_KIT_SERVER_ADDRESS": "unix:path=/run/keyfold-client/globex/pkcs11.sock"}
    tokens = (
        f"import PyKCS11; p = PyKCS11.PyKCS11Lib(); p.load('{REMOTE}'); "
        "print(sorted(p.getTokenInfo(s).label.strip('\\0 ') for s in p.getSlotList(tokenPresent=True)))"
    )
    env = [f"{key}={value}" for key, value in tunnel.items()]
    assert cluster.app.run("env", *env, "python3", "-c", tokens, user="kf-globex").strip() == "['globex']"
    assert cluster.app.attempt("ls", "/run/keyfold-client/acme", user="kf-globex").returncode != 0
    with cluster.subscriber("acme") as other:
        assert "globex-only" not in other.labels("secret")
