"""The cluster's keys as PKCS#11 objects: how they are imported.

Private halves are CKA_SENSITIVE and never CKA_EXTRACTABLE.
"""

from __future__ import annotations

from typing import Any

import PyKCS11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.custody.derive import SCALAR_BYTES, DerivedKeys
from keyfold.custody.labels import audit_label, backup_label, data_label, manifest_label

# RFC 5480: the named curve secp256r1 as DER OBJECT IDENTIFIER.
_P256 = bytes.fromhex("06082a8648ce3d030107")
# PKCS#11 3.0, 2.3.10: the curve's name as DER PrintableString; SoftHSM 2.6.1 knows Ed25519 by this alone.
_ED25519 = b"\x13\x0cedwards25519"


def der_octets(value: bytes) -> bytes:
    """DER OCTET STRING of up to 127 bytes, as CKA_EC_POINT wants a point."""
    return bytes((0x04, len(value))) + value


def import_keys(session: Any, keys: DerivedKeys, epoch: int) -> None:
    """Create all of an epoch's objects in the token of a logged-in read-write session."""
    import_backup_keys(session, keys, epoch)
    _signing_pair(session, audit_label(epoch), keys.audit_seed)
    session.createObject(
        [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_SECRET_KEY),
            (PyKCS11.CKA_KEY_TYPE, PyKCS11.CKK_GENERIC_SECRET),
            (PyKCS11.CKA_VALUE, keys.data_prk),
            (PyKCS11.CKA_SIGN, True),
            *_guarded(data_label(epoch)),
        ]
    )


def import_backup_keys(session: Any, keys: DerivedKeys, epoch: int) -> None:
    """Create only what `rotate_backup_key` moves on: the backup key pair and the manifest-signing key pair."""
    import_opening_pair(session, backup_label(epoch), keys.backup_scalar)
    _signing_pair(session, manifest_label(epoch), keys.manifest_seed)


def import_opening_pair(session: Any, label: str, scalar: int) -> bytes:
    """Create the P-256 pair with this private scalar, for ECDH alone; returns its point (65 bytes)."""
    public = ec.derive_private_key(scalar, ec.SECP256R1()).public_key()
    point = public.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    _private(session, PyKCS11.CKK_EC, label, _P256, scalar.to_bytes(SCALAR_BYTES, "big"), (PyKCS11.CKA_DERIVE, True))
    _public(session, PyKCS11.CKK_EC, label, _P256, point)
    return point


def _signing_pair(session: Any, label: str, seed: bytes) -> None:
    verifying = ed25519.Ed25519PrivateKey.from_private_bytes(seed).public_key().public_bytes_raw()
    _private(session, PyKCS11.CKK_EC_EDWARDS, label, _ED25519, seed, (PyKCS11.CKA_SIGN, True))
    _public(session, PyKCS11.CKK_EC_EDWARDS, label, _ED25519, verifying)


def _guarded(label: str) -> list[tuple[int, Any]]:
    return [
        (PyKCS11.CKA_LABEL, label),
        (PyKCS11.CKA_TOKEN, True),
        (PyKCS11.CKA_PRIVATE, True),
        (PyKCS11.CKA_SENSITIVE, True),
        (PyKCS11.CKA_EXTRACTABLE, False),
    ]


def _private(session: Any, key_type: int, label: str, curve: bytes, value: bytes, use: tuple[int, bool]) -> None:
    session.createObject(
        [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_PRIVATE_KEY),
            (PyKCS11.CKA_KEY_TYPE, key_type),
            (PyKCS11.CKA_EC_PARAMS, curve),
            (PyKCS11.CKA_VALUE, value),
            use,
            *_guarded(label),
        ]
    )


def _public(session: Any, key_type: int, label: str, curve: bytes, point: bytes) -> None:
    session.createObject(
        [
            (PyKCS11.CKA_CLASS, PyKCS11.CKO_PUBLIC_KEY),
            (PyKCS11.CKA_KEY_TYPE, key_type),
            (PyKCS11.CKA_EC_PARAMS, curve),
            (PyKCS11.CKA_EC_POINT, der_octets(point)),
            (PyKCS11.CKA_LABEL, label),
            (PyKCS11.CKA_TOKEN, True),
            (PyKCS11.CKA_PRIVATE, False),
        ]
    )
