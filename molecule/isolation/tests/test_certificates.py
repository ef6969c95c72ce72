"""The certificate decides, and only as long as it is good: also for connections that are open already."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from scenario.cluster import Cluster
from scenario.connections import Held
from scenario.identities import Identity, issued, ours
from scenario.machines import Machine, controller_directory, on_each
from scenario.waiting import wait_for

# What the design promises, and how long the short-lived certificate of the test is good.
WITHIN_SECONDS = 60.0
GOOD_SECONDS = 20.0
CRL = "/etc/keyfold/pki/crl.pem"


def serial(who: Identity) -> int:
    assert who.certificate is not None
    return x509.load_pem_x509_certificate(who.certificate.encode()).serial_number


def revocation_list(*serials: int) -> str:
    """As the scenario's authority signs it."""
    home = controller_directory()
    passphrase = (home / "vault-password").read_bytes().strip()
    key = serialization.load_pem_private_key((home / "pki/ca.key").read_bytes(), passphrase)
    authority = x509.load_pem_x509_certificate((home / "pki/ca.crt").read_bytes())
    now = datetime.now(UTC)
    builder = x509.CertificateRevocationListBuilder().issuer_name(authority.subject).last_update(now)
    builder = builder.next_update(now + timedelta(days=1))
    for number in serials:
        entry = x509.RevokedCertificateBuilder().serial_number(number).revocation_date(now).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM).decode()  # type: ignore[arg-type]


@pytest.fixture
def primaries(cluster: Cluster) -> Iterator[list[Machine]]:
    """The nodes that serve subscribers, with the revocation list they had when the test is over."""
    nodes = [cluster.node("hsm1"), cluster.node("hsm2")]
    before = {node.name: node.run("cat", CRL) for node in nodes}
    yield nodes
    for node in nodes:
        node.run("tee", CRL, stdin=before[node.name])


def test_connections_end_within_a_minute_after_their_certificate_was_revoked_or_has_expired(
    cluster: Cluster, primaries: list[Machine]
) -> None:
    """No playbook runs; a good certificate of the same partition, and other partitions, keep theirs."""
    bad = ours("partition", "acme", valid_for=timedelta(hours=1))
    good = {name: issued(f"partition-{name}") for name in ("acme", "noisy")}
    # Connected first, while it is good.
    short = ours("partition", "acme", valid_for=timedelta(seconds=GOOD_SECONDS))
    with (
        Held(cluster.app, "hsm1", short) as expiring,
        Held(cluster.app, "hsm1", bad, 2) as revoked_here,
        Held(cluster.app, "hsm2", bad) as revoked_there,
        Held(cluster.app, "hsm1", good["acme"]) as same_partition,
        Held(cluster.app, "hsm1", good["noisy"]) as another,
    ):
        assert [one.open for one in (revoked_here, revoked_there, expiring, same_partition, another)] == [2, 1, 1, 1, 1]
        for node in primaries:
            node.run("tee", CRL, stdin=revocation_list(serial(bad)))
        assert revoked_here.ended(WITHIN_SECONDS) is not None
        assert revoked_here.ended(5) is not None
        assert revoked_there.ended(WITHIN_SECONDS) is not None
        assert expiring.ended(GOOD_SECONDS + WITHIN_SECONDS) is not None
        assert same_partition.ended(1) is None
        assert another.ended(0) is None
        for node in primaries:
            with Held(cluster.app, node.name, bad) as again:
                assert again.open == 0
            with Held(cluster.app, node.name, good["acme"]) as still:
                assert still.open == 1
    told = cluster.node("hsm1").run("journalctl", "-u", "keyfold-connections", "-o", "cat")
    assert f"ended 2 connections of partition acme: certificate {serial(bad):040x} is revoked" in told
    assert f"certificate {serial(short):040x} is expired" in told


CRAFTED = [
    "../noisy",
    "noisy/../acme",
    "system",
    "none",
    "NOISY",
    "noisy ",
    "p_noisy",
    "noisy.sock",
    "noisy\n",
    "*",
    "",
    "a" * 64,
]


@pytest.mark.parametrize("name", CRAFTED)
def test_a_crafted_name_in_a_certificate_leads_nowhere(cluster: Cluster, name: str) -> None:
    """The authority would never sign these; if it did, they would be nobody's."""
    with Held(cluster.app, "hsm1", ours("partition", name or " ", valid_for=timedelta(hours=1))) as held:
        assert held.open == 0


def processes(cluster: Cluster) -> dict[str, int]:
    return {
        name: len(cluster.node("hsm1").attempt("pgrep", "-u", f"kf-{name}", "p11-kit").stdout.split())
        for name in ("acme", "noisy")
    }


def test_the_server_name_a_client_asks_for_decides_nothing(cluster: Cluster) -> None:
    wait_for(lambda: not processes(cluster)["acme"], "nobody of acme's")
    before = processes(cluster)
    with Held(cluster.app, "hsm1", issued("partition-acme"), server_name="noisy") as held:
        assert held.open == 1
        assert processes(cluster) == {**before, "acme": before["acme"] + 1}


@pytest.mark.parametrize(
    "first",
    [
        b"PROXY TCP4 127.0.0.1 127.0.0.1 1 9443\r\n",
        b"\r\n\r\n\0\r\nQUIT\n" + bytes([0x21, 0x11, 0, 12]) + bytes(12),
        b"pkcs11:token=noisy\n",
        b"GET /noisy HTTP/1.1\r\nHost: noisy\r\n\r\n",
    ],
    ids=["PROXY v1", "PROXY v2", "a URI", "HTTP"],
)
def test_what_a_client_says_first_leads_to_no_other_partition(cluster: Cluster, first: bytes) -> None:
    before = processes(cluster)
    with Held(cluster.app, "hsm1", issued("partition-acme"), first=first.hex()):
        assert processes(cluster)["noisy"] == before["noisy"]


def test_every_node_has_its_watcher(cluster: Cluster, primaries: list[Machine]) -> None:
    assert set(on_each(primaries, "systemctl", "is-active", "keyfold-connections").values()) == {"active\n"}
