"""Whether an imported key is the one that was exported: checked here, not believed."""

from __future__ import annotations

import hmac
from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import hashes, keywrap, serialization
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from keyfold.subscriber.attributes import CKK_AES, CKK_GENERIC_SECRET, CKK_RSA, Value

# ASN.1: SEQUENCE { SEQUENCE { OID ecPublicKey, parameters }, BIT STRING point }.
_EC_PUBLIC_KEY = bytes.fromhex("06072a8648ce3d0201")


def public_key(key_type: object, proof: Mapping[str, Value]) -> rsa.RSAPublicKey | ec.EllipticCurvePublicKey | None:
    """The public half that the bundle recorded; None if it has none that can be used."""
    modulus, exponent = (proof.get(name) for name in ("CKA_MODULUS", "CKA_PUBLIC_EXPONENT"))
    parameters, point = (proof.get(name) for name in ("CKA_EC_PARAMS", "CKA_EC_POINT"))
    try:
        if key_type == CKK_RSA and isinstance(modulus, bytes) and isinstance(exponent, bytes) and modulus and exponent:
            return rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big")).public_key()
        if isinstance(parameters, bytes) and isinstance(point, bytes) and parameters and point:
            key = serialization.load_der_public_key(_spki(parameters, point))
            return key if isinstance(key, ec.EllipticCurvePublicKey) else None
    except (ValueError, UnsupportedAlgorithm):
        pass
    return None


def signed(key: rsa.RSAPublicKey | ec.EllipticCurvePublicKey, signature: bytes, message: bytes) -> bool:
    """PKCS#11's raw r‖s for ECDSA, PKCS#1 v1.5 for RSA; both over SHA-256."""
    try:
        if isinstance(key, rsa.RSAPublicKey):
            key.verify(signature, message, padding.PKCS1v15(), hashes.SHA256())
        else:
            half = len(signature) // 2
            r, s = (int.from_bytes(part, "big") for part in (signature[:half], signature[half:]))
            key.verify(utils.encode_dss_signature(r, s), message, ec.ECDSA(hashes.SHA256()))
    except InvalidSignature:
        return False
    return True


def answered(key_type: object, kek: bytes, wrapped: bytes, digest: bytes) -> bytes | None:
    """What the secret key answers to 32 bytes: AES-ECB, or HMAC-SHA256 of a generic one; None for other types.

    Its value is in clear here for this moment, in memory. ValueError if it is not wrapped under `kek`.
    """
    if key_type not in (CKK_AES, CKK_GENERIC_SECRET):
        return None
    try:
        value = keywrap.aes_key_unwrap_with_padding(kek, wrapped)
    except keywrap.InvalidUnwrap as error:
        raise ValueError("the key is not wrapped under the bundle's key") from error
    if key_type == CKK_GENERIC_SECRET:
        return hmac.digest(value, digest, "sha256")
    block = Cipher(algorithms.AES(value), modes.ECB()).encryptor()  # noqa: S305 - a challenge, not a message
    return block.update(digest) + block.finalize()


def _spki(parameters: bytes, point: bytes) -> bytes:
    """RFC 5480; `point` as PKCS#11 has it, in an OCTET STRING."""
    # Short and long form of its length.
    inner = point[2:] if point[1] < 0x80 else point[2 + (point[1] & 0x7F) :]
    return _der(0x30, _der(0x30, _EC_PUBLIC_KEY + parameters) + _der(0x03, b"\0" + inner))


def _der(tag: int, content: bytes) -> bytes:
    length = len(content)
    if length < 0x80:
        return bytes([tag, length]) + content
    size = (length.bit_length() + 7) // 8
    return bytes([tag, 0x80 | size]) + length.to_bytes(size, "big") + content
