"""What listens, to whom, and who the certificates say one is."""

from __future__ import annotations

import pytest
from scenario.cluster import Cluster
from scenario.identities import NOBODY, Identity, issued, speak
from scenario.machines import controller_directory, machines

LISTENERS = {
    "hsm1": {2379, 2380, 9443},
    "hsm2": {2379, 2380, 9443},
    "hsm3": {2379, 2380},
    "store1": {443},
    "app1": set(),
}
ENDPOINTS = [(host, port) for host, ports in LISTENERS.items() for port in sorted(ports)]
# Whom the port is for, so that a refusal is seen to be about who asks. All ask from hsm3: etcd holds a peer's address
# against its certificate.
WELCOME = {2379: "etcd-client-hsm3", 2380: "etcd-hsm3", 443: "store-reader-hsm3", 9443: "partition-acme"}
ASK = {2379: "/version", 2380: "/version", 443: "/keyfold/"}
PLAIN = (
    "import socket, sys; s = socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); "
    "s.sendall(b'GET / HTTP/1.0\\r\\n\\r\\n'); print(s.recv(256))"
)


def said(host: str, port: int, who: Identity) -> bool:
    """Whether the service answers."""
    requests: list[tuple[str, str, dict[str, str], str]] = [("GET", ASK[port], {}, "")] if port in ASK else []
    answer = speak(machines()["hsm3"], host, port, who, requests or None)
    return bool(answer.get("answers")) or bool(answer.get("statuses"))


@pytest.mark.parametrize("host", LISTENERS)
def test_a_machine_listens_where_it_should_and_nowhere_else(cluster: Cluster, host: str) -> None:
    addresses = [line.split()[3] for line in machines()[host].run("ss", "-Htln").splitlines()]
    # Docker's name server is on a loopback address of the container's own.
    outside = [address for address in addresses if not address.startswith("127.0.0.11:")]
    assert {int(address.rpartition(":")[2]) for address in outside} == LISTENERS[host]


@pytest.mark.parametrize(("host", "port"), ENDPOINTS)
def test_every_listener_wants_tls_and_the_right_certificate(cluster: Cluster, host: str, port: int) -> None:
    assert said(host, port, issued(WELCOME[port]))
    assert not said(host, port, NOBODY)
    if port == 2380:
        assert not said(host, port, issued("etcd-hsm2"))
    plain = machines()["hsm3"].attempt("python3", "-c", PLAIN, host, str(port))
    assert " 200 " not in plain.stdout, plain.stdout


@pytest.mark.parametrize(
    ("name", "subject"),
    [
        ("access-hsm1", "O=keyfold, OU=node, CN=hsm1"),
        ("partition-acme", "O=keyfold, OU=partition, CN=acme"),
        ("store-writer-hsm3", "O=keyfold, OU=store, CN=writer"),
        ("store-reader-hsm3", "O=keyfold, OU=store, CN=reader"),
    ],
)
def test_a_certificate_says_what_it_is_for(cluster: Cluster, name: str, subject: str) -> None:
    pem = (controller_directory() / "pki/issued" / name / "current/tls.crt").read_text()
    shown = cluster.nodes[0].run("openssl", "x509", "-noout", "-subject", stdin=pem)
    assert shown.strip() == f"subject={subject}"


@pytest.mark.parametrize("name", ["hsm1", "hsm2", "hsm3"])
def test_etcds_certificates_have_no_common_name(cluster: Cluster, name: str) -> None:
    for path in ("/etc/keyfold/pki/etcd.crt", "/etc/etcd/pki/member.crt"):
        shown = cluster.node(name).run("openssl", "x509", "-noout", "-subject", "-in", path)
        assert shown.startswith("subject=O=keyfold")
        assert "CN=" not in shown


@pytest.mark.parametrize("node", ["hsm1", "hsm2"])
def test_a_revoked_certificate_is_refused_and_its_successor_is_not(loud_run: str, revoked: Identity, node: str) -> None:
    assert not said(node, 9443, revoked)
    assert said(node, 9443, issued("partition-globex"))
