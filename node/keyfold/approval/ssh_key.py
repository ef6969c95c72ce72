"""An SSH public key line, looked at closely enough that ssh-keygen will take it (RFC 4253 6.6, RFC 5656, RFC 8709)."""

from __future__ import annotations

import base64
import binascii
import struct

_MIN_RSA_BITS = 2048
_ED25519_BYTES = 32
# Strings after the type; the security key types end in an application (OpenSSH's PROTOCOL.u2f).
_FIELDS = {
    "ssh-ed25519": 1,
    "ssh-rsa": 2,
    "ecdsa-sha2-nistp256": 2,
    "ecdsa-sha2-nistp384": 2,
    "ecdsa-sha2-nistp521": 2,
    "sk-ssh-ed25519@openssh.com": 2,
    "sk-ecdsa-sha2-nistp256@openssh.com": 3,
}


def canonical_key(line: object) -> str:
    """`type base64`, without comment or options; ValueError says why it is no public key."""
    words = line.split() if isinstance(line, str) and "\n" not in line.strip() else []
    if len(words) < 2:
        raise ValueError("the key is not one line 'type base64 [comment]'")
    kind, encoded = words[:2]
    if kind not in _FIELDS:
        raise ValueError(f"the key type {kind!r} is not one of {', '.join(_FIELDS)}")
    try:
        fields = _strings(base64.b64decode(encoded, validate=True))
    except (binascii.Error, struct.error) as error:
        raise ValueError("the key is not whole") from error
    if fields[0] != kind.encode() or len(fields) != 1 + _FIELDS[kind] or not all(fields):
        raise ValueError(f"the key does not hold what a key of type {kind} does")
    if kind.endswith("ed25519@openssh.com") or kind == "ssh-ed25519":
        _check(len(fields[1]) == _ED25519_BYTES, f"an Ed25519 key has {_ED25519_BYTES} bytes")
    elif kind == "ssh-rsa":
        bits = int.from_bytes(fields[2], "big").bit_length()
        _check(bits >= _MIN_RSA_BITS, f"an RSA key of {bits} bits is too short: {_MIN_RSA_BITS} at least")
    else:
        curve = kind.removeprefix("sk-").removeprefix("ecdsa-sha2-").removesuffix("@openssh.com")
        _check(fields[1] == curve.encode(), f"the key is not on the curve {curve}")
    return f"{kind} {encoded}"


def _strings(blob: bytes) -> list[bytes]:
    """RFC 4251, 5: strings with a 32-bit length each; at least one."""
    found, at = [], 0
    while at < len(blob):
        (length,) = struct.unpack_from(">I", blob, at)
        value = blob[at + 4 : at + 4 + length]
        if len(value) != length:
            raise struct.error("truncated")
        found.append(value)
        at += 4 + length
    if not found:
        raise struct.error("empty")
    return found


def _check(holds: bool, otherwise: str) -> None:
    if not holds:
        raise ValueError(otherwise)
