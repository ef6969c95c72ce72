"""The cluster's own keys in use: the contract of the backup and the agent."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from types import TracebackType
from typing import Self

from cryptography.hazmat.primitives.asymmetric import ec

from keyfold.errors import KeyfoldError

UNCOMPRESSED_POINT_BYTES = 65


def checked_peer(point: bytes) -> ec.EllipticCurvePublicKey:
    """The public key that `ecdh` is asked for; KeyfoldError(invalid) unless it is an uncompressed point of P-256."""
    try:
        if len(point) == UNCOMPRESSED_POINT_BYTES:
            return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    except ValueError:
        pass
    raise KeyfoldError(
        "invalid",
        "the peer's public key is not a point of P-256",
        not_done="no shared secret was computed",
        next_step="check that the file was made for this cluster's backup recipient",
    )


def check_message(message: bytes) -> None:
    """ValueError for the one message that SoftHSM does not sign."""
    if not message:
        raise ValueError("an empty message is not signed")


class SystemKeys(ABC):
    """Backup key pair (P-256), data key, manifest-signing and audit key (Ed25519) of one cluster.

    It signs and names the backup key of one epoch, the current one; it opens what was encrypted to any key pair, of a
    backup epoch or of an offline medium, whose private key the token still has.

    A context manager; `close` gives the token back. Raises KeyfoldError(not_found) where the token or a key is missing,
    KeyfoldError(denied) where the PIN is wrong.
    """

    @abstractmethod
    def data_key(self, epoch: int = 1) -> bytes:
        """32 bytes: the AES-256 key that seals values in etcd."""

    @abstractmethod
    def backup_public_key(self) -> bytes:
        """65 bytes: 0x04 | x | y (SEC 1, 2.3.3)."""

    @abstractmethod
    def opening_keys(self) -> Mapping[str, bytes]:
        """Label → public key, for every key pair that opens archives and whose private half is there."""

    @abstractmethod
    def ecdh(self, peer_point: bytes, label: str | None = None) -> bytes:
        """32 bytes: x of the shared point of that key (None: the current backup key) with the 65-byte `peer_point`.

        KeyfoldError(invalid) if it is no point.
        """

    @abstractmethod
    def sign(self, message: bytes) -> bytes:
        """64 bytes: Ed25519 signature (RFC 8032) of the manifest-signing key; ValueError for an empty message."""

    @abstractmethod
    def signing_public_key(self) -> bytes:
        """32 bytes (RFC 8032)."""

    @abstractmethod
    def sign_audit(self, message: bytes) -> bytes:
        """As `sign`, with the audit key."""

    @abstractmethod
    def audit_public_key(self) -> bytes:
        """32 bytes (RFC 8032)."""

    @abstractmethod
    def close(self) -> None:
        """Log out and give the token back."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
