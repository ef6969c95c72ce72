"""Who a TLS client is: certificates of the scenario's authority, of nobody, and of an authority of their own."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from scenario.machines import Machine, client, controller_directory


@dataclass(frozen=True)
class Identity:
    """A certificate and its key as PEM; both None for a client without."""

    certificate: str | None
    key: str | None = field(repr=False)


NOBODY = Identity(None, None)


def issued(name: str) -> Identity:
    """What the role pki issued under this name (docs/interfaces.md §1)."""
    pair = controller_directory() / "pki/issued" / name / "current"
    return Identity((pair / "tls.crt").read_text(), (pair / "tls.key").read_text())


def foreign(organizational_unit: str, common_name: str) -> Identity:
    """The same subject, signed by another authority: itself."""
    key = ec.generate_private_key(ec.SECP256R1())
    return _certified(key, organizational_unit, common_name, timedelta(hours=1))


def ours(organizational_unit: str, common_name: str, *, valid_for: timedelta) -> Identity:
    """Any subject, signed by the scenario's own authority; with a negative `valid_for` it has expired already."""
    home = controller_directory()
    passphrase = (home / "vault-password").read_bytes().strip()
    signer = serialization.load_pem_private_key((home / "pki/ca.key").read_bytes(), passphrase)
    assert isinstance(signer, ec.EllipticCurvePrivateKey)
    authority = x509.load_pem_x509_certificate((home / "pki/ca.crt").read_bytes())
    key = ec.generate_private_key(ec.SECP256R1())
    return _certified(key, organizational_unit, common_name, valid_for, (signer, authority.subject))


def _certified(
    key: ec.EllipticCurvePrivateKey,
    organizational_unit: str,
    common_name: str,
    valid_for: timedelta,
    authority: tuple[ec.EllipticCurvePrivateKey, x509.Name] | None = None,
) -> Identity:
    """A client's certificate, signed by itself where there is no `authority`."""
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, "keyfold"),
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit),
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
        ]
    )
    signer, issuer = authority or (key, subject)
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=2))
        .not_valid_after(now + valid_for)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(signer.public_key()), critical=False)
        .sign(signer, hashes.SHA256())
    )
    key_pem = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    return Identity(certificate.public_bytes(serialization.Encoding.PEM).decode(), key_pem.decode())


def speak(
    machine: Machine,
    server: str,
    port: int,
    who: Identity,
    requests: list[tuple[str, str, dict[str, str], str]] | None = None,
    version: str = "TLSv1_3",
) -> dict[str, Any]:
    """What `tests/clients/tls_client.py`, run on `machine`, says of a server: statuses, answers or refused."""
    order = {
        "host": server,
        "port": port,
        "authority": (controller_directory() / "pki/ca.crt").read_text(),
        "certificate": who.certificate,
        "key": who.key,
        "version": version,
        "requests": requests,
    }
    said: dict[str, Any] = json.loads(machine.run("python3", "-c", client("tls_client.py"), stdin=json.dumps(order)))
    return said
