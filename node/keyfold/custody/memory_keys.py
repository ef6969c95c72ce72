"""The cluster's keys in memory: for tests, and for a root that is at hand anyway."""

from __future__ import annotations

import hashlib
import hmac

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.custody.derive import data_key_message, derive
from keyfold.custody.keys import SystemKeys, check_message, checked_peer


class MemorySystemKeys(SystemKeys):
    """All epochs of the keys of `root` (32 bytes) in cluster `cluster_uuid`; key pairs are those of epoch 1."""

    def __init__(self, root: bytes, cluster_uuid: str) -> None:
        self._root = root
        self._cluster_uuid = cluster_uuid
        keys = derive(root, cluster_uuid)
        self._backup = ec.derive_private_key(keys.backup_scalar, ec.SECP256R1())
        self._manifest = ed25519.Ed25519PrivateKey.from_private_bytes(keys.manifest_seed)
        self._audit = ed25519.Ed25519PrivateKey.from_private_bytes(keys.audit_seed)

    def data_key(self, epoch: int = 1) -> bytes:
        prk = derive(self._root, self._cluster_uuid, epoch).data_prk
        return hmac.digest(prk, data_key_message(epoch), hashlib.sha256)

    def backup_public_key(self) -> bytes:
        return self._backup.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)

    def ecdh(self, peer_point: bytes) -> bytes:
        return self._backup.exchange(ec.ECDH(), checked_peer(peer_point))

    def sign(self, message: bytes) -> bytes:
        check_message(message)
        return self._manifest.sign(message)

    def signing_public_key(self) -> bytes:
        return self._manifest.public_key().public_bytes_raw()

    def sign_audit(self, message: bytes) -> bytes:
        check_message(message)
        return self._audit.sign(message)

    def audit_public_key(self) -> bytes:
        return self._audit.public_key().public_bytes_raw()

    def close(self) -> None:
        """Nothing to give back."""
