"""The cluster's keys in memory: for tests, and for a root that is at hand anyway."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Mapping, Sequence

from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.custody.derive import data_key_message, derive
from keyfold.custody.keys import SystemKeys, check_message, checked_peer
from keyfold.custody.labels import backup_label, medium_label


class MemorySystemKeys(SystemKeys):
    """The keys of `root` (32 bytes) in cluster `cluster_uuid`: backup key pairs of `epochs`, the last being current.

    `media`: private scalars of offline media by ID.
    """

    def __init__(
        self, root: bytes, cluster_uuid: str, epochs: Sequence[int] = (1,), media: Mapping[str, int] | None = None
    ) -> None:
        self._root = root
        self._cluster_uuid = cluster_uuid
        derived = {epoch: derive(root, cluster_uuid, epoch) for epoch in epochs}
        keys = derived[epochs[-1]]
        scalars = {backup_label(epoch): one.backup_scalar for epoch, one in derived.items()}
        scalars |= {medium_label(medium): scalar for medium, scalar in (media or {}).items()}
        self._pairs = {label: ec.derive_private_key(scalar, ec.SECP256R1()) for label, scalar in scalars.items()}
        self._backup = self._pairs[backup_label(epochs[-1])]
        self._manifest = ed25519.Ed25519PrivateKey.from_private_bytes(keys.manifest_seed)
        self._audit = ed25519.Ed25519PrivateKey.from_private_bytes(keys.audit_seed)

    def data_key(self, epoch: int = 1) -> bytes:
        prk = derive(self._root, self._cluster_uuid, epoch).data_prk
        return hmac.digest(prk, data_key_message(epoch), hashlib.sha256)

    def backup_public_key(self) -> bytes:
        return _point(self._backup)

    def opening_keys(self) -> Mapping[str, bytes]:
        return {label: _point(pair) for label, pair in self._pairs.items()}

    def ecdh(self, peer_point: bytes, label: str | None = None) -> bytes:
        pair = self._backup if label is None else self._pairs[label]
        return pair.exchange(ec.ECDH(), checked_peer(peer_point))

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


def _point(pair: ec.EllipticCurvePrivateKey) -> bytes:
    return pair.public_key().public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
