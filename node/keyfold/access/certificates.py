"""Which connections' certificates are not good any more: revoked, or expired. Pure."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass
from datetime import UTC, datetime

from cryptography import x509

_PEM = re.compile(rb"-----BEGIN X509 CRL-----.*?-----END X509 CRL-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Connection:
    """One subscriber's connection. `peer`: address:port, unique among those open; `not_after` in UTC."""

    serial: int
    not_after: datetime
    peer: str
    partition: str


def revoked_serials(pem: bytes) -> frozenset[int]:
    """Serial numbers of every revocation list in a file; ValueError if it has none or one cannot be read."""
    lists = [x509.load_pem_x509_crl(found) for found in _PEM.findall(pem)]
    if not lists:
        raise ValueError("there is no revocation list in it")
    return frozenset(entry.serial_number for one in lists for entry in one)


def parse_connection(key: str) -> Connection:
    """A key of HAProxy's table `connections` (role access): serial in hex/notAfter/peer/partition."""
    serial, not_after, peer, partition = key.split("/", 3)
    # ASN.1's UTCTime, or GeneralizedTime from 2050 on (RFC 5280 §4.1.2.5).
    form = "%y%m%d%H%M%SZ" if len(not_after) == 13 else "%Y%m%d%H%M%SZ"
    return Connection(int(serial, 16), datetime.strptime(not_after, form).replace(tzinfo=UTC), peer, partition)


def no_longer_good(
    connections: Iterable[Connection], revoked: Collection[int], now: datetime
) -> list[tuple[Connection, str]]:
    """Those to end, each with the reason: `revoked` or `expired`."""
    found = []
    for connection in connections:
        if connection.serial in revoked:
            found.append((connection, "revoked"))
        elif connection.not_after <= now:
            found.append((connection, "expired"))
    return found
