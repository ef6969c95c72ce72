"""The cluster's keys as PKCS#11 objects: labels, and how derived keys are imported.

Private halves are CKA_SENSITIVE and never CKA_EXTRACTABLE. Labels carry the epoch, so keys rotate side by side.
"""

from __future__ import annotations

from typing import Any

import PyKCS11
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.custody.derive import DerivedKeys

# RFC 5480: the named curve secp256r1 as DER OBJECT IDENTIFIER.
_P256 = bytes.fromhex("06082a8648ce3d030107")
# PKCS#11 3.0, 2.3.10: the curve's name as DER PrintableString; SoftHSM 2.6.1 knows Ed25519 by this alone.
_ED25519 = b"\x13\x0cedwards25519"


def backup_label(epoch: int) -> str:
    return f"keyfold-backup-{epoch}"


def backup_epoch(label: str) -> int | None:
    """The epoch in a backup key's label; None for any other label."""
    epoch = label.removeprefix("keyfold-backup-")
    return int(epoch) if epoch != label and epoch.isascii() and epoch.isdigit() else None


def data_label(epoch: int) -> str:
    return f"keyfold-data-{epoch}"


def manifest_label(epoch: int) -> str:
    return f"keyfold-manifest-{epoch}"


def audit_label(epoch: int) -> str:
    return f"keyfold-audit-{epoch}"


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
    backup = ec.derive_private_key(keys.backup_scalar, ec.SECP256R1())
    point = backup.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
    label, use = backup_label(epoch), (PyKCS11.CKA_DERIVE, True)
    _private(session, PyKCS11.CKK_EC, label, _P256, keys.backup_scalar.to_bytes(32, "big"), use)
    _public(session, PyKCS11.CKK_EC, label, _P256, point)
    _signing_pair(session, manifest_label(epoch), keys.manifest_seed)


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
