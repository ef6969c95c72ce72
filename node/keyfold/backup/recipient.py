"""The cluster's backup key as age spells it: recipient (public) and identity (which key, no secret).

recipient   age1keyfold1…            Bech32 of the compressed P-256 point (33 bytes)
identity    AGE-PLUGIN-KEYFOLD-1…    Bech32 of the key's tag (16 bytes)
tag         the first 16 bytes of SHA-256 of the compressed point
"""

from __future__ import annotations

import hashlib

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from keyfold.backup import bech32

TAG_BYTES = 16
COMPRESSED_BYTES = 33

_RECIPIENT_PREFIX = "age1keyfold"
_IDENTITY_PREFIX = "age-plugin-keyfold-"


def public_key(point: bytes) -> ec.EllipticCurvePublicKey:
    """The key of a SEC 1 point, compressed or not; ValueError if it is not on P-256."""
    return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)


def compressed(point: bytes) -> bytes:
    """The 33-byte form of a SEC 1 point."""
    return public_key(point).public_bytes(Encoding.X962, PublicFormat.CompressedPoint)


def uncompressed(point: bytes) -> bytes:
    """The 65-byte form of a SEC 1 point."""
    return public_key(point).public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)


def tag(point: bytes) -> bytes:
    """16 bytes that name the key."""
    return hashlib.sha256(compressed(point)).digest()[:TAG_BYTES]


def encode_recipient(point: bytes) -> str:
    """`age1keyfold1…` of a 65- or 33-byte point."""
    return bech32.encode(_RECIPIENT_PREFIX, compressed(point))


def decode_recipient(text: str) -> bytes:
    """The compressed point; ValueError if the text is no recipient of ours."""
    prefix, point = bech32.decode(text)
    if prefix != _RECIPIENT_PREFIX or len(point) != COMPRESSED_BYTES:
        raise ValueError("not a recipient of age-plugin-keyfold")
    return compressed(point)


def encode_identity(key_tag: bytes) -> str:
    """`AGE-PLUGIN-KEYFOLD-1…` of a tag."""
    return bech32.encode(_IDENTITY_PREFIX, key_tag).upper()


def decode_identity(text: str) -> bytes:
    """The tag; ValueError if the text is no identity of ours."""
    prefix, key_tag = bech32.decode(text)
    if prefix != _IDENTITY_PREFIX or len(key_tag) != TAG_BYTES:
        raise ValueError("not an identity of age-plugin-keyfold")
    return key_tag
