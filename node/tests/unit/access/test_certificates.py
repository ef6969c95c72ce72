"""Which open connections have to end."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from keyfold.access.certificates import Connection, no_longer_good, parse_connection, revoked_serials

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def connection(
    serial: int = 1, *, not_after: datetime = NOW + timedelta(days=1), peer: str = "10.0.0.1:1"
) -> Connection:
    return Connection(serial, not_after, peer, "acme")


def crl(*serials: int) -> bytes:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "ca")])
    builder = x509.CertificateRevocationListBuilder().issuer_name(name).last_update(NOW).next_update(NOW + timedelta(1))
    for serial in serials:
        builder = builder.add_revoked_certificate(
            x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(NOW).build()
        )
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def test_of_two_certificates_of_a_partition_only_the_revoked_ones_connections_end() -> None:
    ended = no_longer_good([connection(1), connection(2)], {2}, NOW)
    assert [(one.serial, reason) for one, reason in ended] == [(2, "revoked")]


def test_a_certificate_ends_at_the_moment_it_says() -> None:
    assert no_longer_good([connection(not_after=NOW + timedelta(seconds=1))], (), NOW) == []
    assert [reason for _, reason in no_longer_good([connection(not_after=NOW)], (), NOW)] == ["expired"]


def test_every_list_in_the_file_counts() -> None:
    assert revoked_serials(crl(1, 2) + crl(0xFF00)) == {1, 2, 0xFF00}


def test_a_file_without_a_list_is_an_error_not_an_empty_list() -> None:
    with pytest.raises(ValueError, match="no revocation list"):
        revoked_serials(b"")


@pytest.mark.parametrize(
    ("key", "serial", "year"),
    [
        ("00FF12/261126120000Z/10.213.1.31:41234/acme", 0xFF12, 2026),
        ("01/20510101000000Z/[::1]:1/acme", 1, 2051),
    ],
)
def test_a_connections_key_is_read_as_haproxy_writes_it(key: str, serial: int, year: int) -> None:
    parsed = parse_connection(key)
    assert (parsed.serial, parsed.not_after.year, parsed.partition) == (serial, year, "acme")


def test_a_name_with_slashes_stays_the_last_part() -> None:
    assert parse_connection("01/261126120000Z/10.0.0.1:1/a/b").partition == "a/b"
