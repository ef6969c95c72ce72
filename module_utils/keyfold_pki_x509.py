# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""X.509 for Keyfold's authority (RFC 5280): signs certificates and the CRL, and reads them back.

Everything is EC P-256 with SHA-256; everything goes in and out as PEM bytes. No files here.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from datetime import datetime

from ansible.module_utils.keyfold_pki import (
    BACKDATE,
    PROFILES,
    Authority,
    Issued,
    PkiError,
    RevocationList,
    Wanted,
    normal_san,
)
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

_ORGANIZATION = "keyfold"


def new_key() -> ec.EllipticCurvePrivateKey:
    """Make a P-256 private key."""
    return ec.generate_private_key(ec.SECP256R1())


def dump_key(key: ec.EllipticCurvePrivateKey, passphrase: str | None = None) -> bytes:
    """Return the key as PKCS#8 PEM, encrypted when a passphrase is given."""
    encryption: serialization.KeySerializationEncryption = serialization.NoEncryption()
    if passphrase is not None:
        encryption = serialization.BestAvailableEncryption(passphrase.encode())
    return key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, encryption)


def load_authority_key(name: str, pem: bytes, passphrase: str) -> ec.EllipticCurvePrivateKey:
    """Decrypt the key of the authority `name`. Raises PkiError when the passphrase is not the right one."""
    try:
        key = serialization.load_pem_private_key(pem, passphrase.encode())
    except (ValueError, TypeError):
        raise PkiError(
            f"the passphrase does not open the authority's private key, {name}.key",
            not_done="nothing was signed",
            next_step="give the passphrase that this directory was made with as pki_passphrase",
        ) from None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise PkiError(
            f"{name}.key is not an EC key",
            not_done="nothing was signed",
            next_step="bring the key back from the copy of pki_directory",
        )
    return key


@dataclass(frozen=True)
class Signer:
    """An authority that can sign: its certificate, if it has one already, and its private key."""

    pem: bytes | None
    key: ec.EllipticCurvePrivateKey

    @property
    def certificate(self) -> x509.Certificate:
        if self.pem is None:
            raise ValueError("the authority has no certificate yet")
        return x509.load_pem_x509_certificate(self.pem)


def sign_authority(
    signer: Signer, key: ec.EllipticCurvePrivateKey, common_name: str, now: datetime, not_after: datetime
) -> bytes:
    """Return a CA certificate for `key`: self-signed if it is the signer's own, else one for leaves only."""
    subject = _name(None, common_name)
    is_root = key is signer.key
    issuer = subject if is_root else signer.certificate.subject
    builder = (
        _builder(subject, issuer, key.public_key(), now, not_after)
        .add_extension(x509.BasicConstraints(ca=True, path_length=1 if is_root else 0), critical=True)
        .add_extension(_key_usage(signs_certificates=True), critical=True)
        .add_extension(_authority_key_identifier(signer.key), critical=False)
    )
    return _pem(builder.sign(signer.key, hashes.SHA256()))


def sign_leaf(
    signer: Signer,
    public_key: ec.EllipticCurvePublicKey,
    wanted: Wanted,
    now: datetime,
    not_after: datetime,
) -> tuple[str, bytes]:
    """Sign a leaf certificate; return its serial (40 hex digits) and its PEM."""
    profile = PROFILES[wanted.profile]
    usages = [ExtendedKeyUsageOID.SERVER_AUTH] * profile.server + [ExtendedKeyUsageOID.CLIENT_AUTH] * profile.client
    subject = _name(profile.organizational_unit, wanted.common_name)
    builder = (
        _builder(subject, signer.certificate.subject, public_key, now, not_after)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_key_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage(usages), critical=False)
        .add_extension(_authority_key_identifier(signer.key), critical=False)
    )
    if wanted.sans:
        sans = x509.SubjectAlternativeName([_general_name(san) for san in sorted(wanted.sans)])
        builder = builder.add_extension(sans, critical=False)
    certificate = builder.sign(signer.key, hashes.SHA256())
    return f"{certificate.serial_number:040x}", _pem(certificate)


def sign_revocations(
    signer: Signer,
    serials: frozenset[str],
    previous: bytes | None,
    now: datetime,
    next_update: datetime,
) -> bytes:
    """Sign a CRL; entries that the previous one has keep their date, and its number goes up by one."""
    number, dates = 1, {}
    if previous is not None:
        old = x509.load_pem_x509_crl(previous)
        number = old.extensions.get_extension_for_class(x509.CRLNumber).value.crl_number + 1
        dates = {f"{entry.serial_number:040x}": entry.revocation_date_utc for entry in old}
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(signer.certificate.subject)
        .last_update(now - BACKDATE)
        .next_update(next_update)
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(_authority_key_identifier(signer.key), critical=False)
    )
    for serial in sorted(serials):
        entry = x509.RevokedCertificateBuilder().serial_number(int(serial, 16))
        builder = builder.add_revoked_certificate(entry.revocation_date(dates.get(serial, now)).build())
    return builder.sign(signer.key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def read_authority(name: str, pem: bytes) -> Authority:
    """Describe the certificate of the authority `name`."""
    certificate = x509.load_pem_x509_certificate(pem)
    identifier = certificate.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    return Authority(
        name=name,
        common_name=_attribute(certificate, NameOID.COMMON_NAME) or "",
        key_id=identifier.digest.hex(),
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
    )


def read_leaf(name: str, pem: bytes, key_pem: bytes | None, *, current: bool) -> Issued:
    """Describe a leaf certificate that the authority issued under `name`."""
    certificate = x509.load_pem_x509_certificate(pem)
    extensions = certificate.extensions
    usages = list(extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)
    identifier = extensions.get_extension_for_class(x509.AuthorityKeyIdentifier).value.key_identifier
    return Issued(
        name=name,
        serial=f"{certificate.serial_number:040x}",
        organizational_unit=_attribute(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME) or "",
        common_name=_attribute(certificate, NameOID.COMMON_NAME),
        sans=_sans(extensions),
        server=ExtendedKeyUsageOID.SERVER_AUTH in usages,
        client=ExtendedKeyUsageOID.CLIENT_AUTH in usages,
        not_before=certificate.not_valid_before_utc,
        not_after=certificate.not_valid_after_utc,
        authority_key_id=identifier.hex() if identifier else "",
        current=current,
        key_matches=key_pem is not None and _belongs(key_pem, certificate),
    )


def read_revocations(pem: bytes) -> RevocationList:
    """Describe a CRL."""
    revocations = x509.load_pem_x509_crl(pem)
    if revocations.next_update_utc is None:
        raise ValueError("the CRL has no date for its next update")
    return RevocationList(
        frozenset(f"{entry.serial_number:040x}" for entry in revocations), revocations.next_update_utc
    )


def _name(organizational_unit: str | None, common_name: str | None) -> x509.Name:
    attributes = [x509.NameAttribute(NameOID.ORGANIZATION_NAME, _ORGANIZATION)]
    if organizational_unit:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, organizational_unit))
    if common_name:
        attributes.append(x509.NameAttribute(NameOID.COMMON_NAME, common_name))
    return x509.Name(attributes)


def _builder(
    subject: x509.Name, issuer: x509.Name, key: ec.EllipticCurvePublicKey, now: datetime, not_after: datetime
) -> x509.CertificateBuilder:
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(key)
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - BACKDATE)
        .not_valid_after(not_after)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
    )


def _authority_key_identifier(key: ec.EllipticCurvePrivateKey) -> x509.AuthorityKeyIdentifier:
    return x509.AuthorityKeyIdentifier.from_issuer_public_key(key.public_key())


def _key_usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )


def _general_name(san: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(san))
    except ValueError:
        return x509.DNSName(san)


def _sans(extensions: x509.Extensions) -> frozenset[str]:
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return frozenset()
    return frozenset(normal_san(str(name.value)) for name in names)


def _attribute(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> str | None:
    attributes = certificate.subject.get_attributes_for_oid(oid)
    return str(attributes[0].value) if attributes else None


def _belongs(key_pem: bytes, certificate: x509.Certificate) -> bool:
    try:
        key = serialization.load_pem_private_key(key_pem, password=None)
    except (ValueError, TypeError):
        return False
    return key.public_key() == certificate.public_key()


def _pem(certificate: x509.Certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
