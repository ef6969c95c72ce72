"""A secret wrapped to the cluster's backup key; of a file key that is one age recipient stanza (docs/formats.md).

-> keyfold-p256 base64(tag) base64(ephemeral share, compressed)
base64(ChaCha20-Poly1305(wrap key, nonce 0, file key))

wrap key = HKDF-SHA256(ikm=x of ECDH(ephemeral, recipient), salt=share | recipient, info="keyfold/v1/age/p256", 32)
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.backup import recipient
from keyfold.backup.age_ipc import Stanza, b64decode, b64encode

TYPE = "keyfold-p256"
FILE_KEY_BYTES = 16

_INFO = b"keyfold/v1/age/p256"
# The wrap key is used once: it comes from a fresh ephemeral key (as in age's own X25519 recipient).
_NONCE = bytes(12)
_BODY_BYTES = FILE_KEY_BYTES + 16


@dataclass(frozen=True, slots=True)
class WrappedKey:
    """`tag`: whose key it is; `share`: the ephemeral point, compressed; `body`: 32 bytes."""

    tag: bytes
    share: bytes
    body: bytes

    def as_stanza(self) -> Stanza:
        return Stanza(TYPE, (b64encode(self.tag), b64encode(self.share)), self.body)

    @classmethod
    def from_stanza(cls, stanza: Stanza) -> WrappedKey:
        """ValueError if a stanza of our type is not as `wrap` makes them."""
        key_tag, share = (b64decode(argument) for argument in stanza.arguments)
        if len(key_tag) != recipient.TAG_BYTES or len(share) != recipient.COMPRESSED_BYTES:
            raise ValueError("tag or share has the wrong length")
        if len(stanza.body) != _BODY_BYTES:
            raise ValueError("the wrapped key has the wrong length")
        recipient.public_key(share)
        return cls(key_tag, share, stanza.body)


def wrap(secret: bytes, point: bytes, info: bytes = _INFO) -> WrappedKey:
    """Wrap a secret, by default age's 16-byte file key, to the public key `point`; needs nothing else."""
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    share = ephemeral.public_key().public_bytes(Encoding.X962, PublicFormat.CompressedPoint)
    shared = ephemeral.exchange(ec.ECDH(), recipient.public_key(point))
    body = ChaCha20Poly1305(_wrap_key(shared, share, point, info)).encrypt(_NONCE, secret, None)
    return WrappedKey(recipient.tag(point), share, body)


def unwrap(wrapped: WrappedKey, point: bytes, ecdh: Callable[[bytes], bytes], info: bytes = _INFO) -> bytes:
    """The secret. `ecdh` takes a 65-byte point and gives 32 bytes; ValueError if the stanza was altered."""
    shared = ecdh(recipient.uncompressed(wrapped.share))
    try:
        return ChaCha20Poly1305(_wrap_key(shared, wrapped.share, point, info)).decrypt(_NONCE, wrapped.body, None)
    except InvalidTag as error:
        raise ValueError("the wrapped key was altered") from error


def _wrap_key(shared: bytes, share: bytes, point: bytes, info: bytes) -> bytes:
    salt = share + recipient.compressed(point)
    return HKDF(algorithm=SHA256(), length=32, salt=salt, info=info).derive(shared)
