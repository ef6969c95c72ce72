"""Which attributes of an object travel in an export, and how (docs/formats.md; PKCS#11 2.40, section 4)."""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any

CLASSES = {"data": 0, "certificate": 1, "public": 2, "private": 3, "secret": 4}
CLASS_NAMES = {number: name for name, number in CLASSES.items()}

CKK_RSA, CKK_EC, CKK_GENERIC_SECRET, CKK_DES3, CKK_AES = 0x00, 0x03, 0x10, 0x15, 0x1F

NUMBERS = {"CKA_KEY_TYPE": 0x100, "CKA_CERTIFICATE_TYPE": 0x80, "CKA_CERTIFICATE_CATEGORY": 0x87}
BOOLEANS = {
    "CKA_PRIVATE": 0x02,
    "CKA_MODIFIABLE": 0x170,
    "CKA_SENSITIVE": 0x103,
    "CKA_EXTRACTABLE": 0x162,
    "CKA_ALWAYS_AUTHENTICATE": 0x202,
    "CKA_WRAP_WITH_TRUSTED": 0x210,
    "CKA_ENCRYPT": 0x104,
    "CKA_DECRYPT": 0x105,
    "CKA_WRAP": 0x106,
    "CKA_UNWRAP": 0x107,
    "CKA_SIGN": 0x108,
    "CKA_SIGN_RECOVER": 0x109,
    "CKA_VERIFY": 0x10A,
    "CKA_VERIFY_RECOVER": 0x10B,
    "CKA_DERIVE": 0x10C,
}
BYTES = {
    "CKA_LABEL": 0x03,
    "CKA_ID": 0x102,
    "CKA_SUBJECT": 0x101,
    "CKA_ISSUER": 0x81,
    "CKA_SERIAL_NUMBER": 0x82,
    "CKA_APPLICATION": 0x10,
    "CKA_OBJECT_ID": 0x12,
    "CKA_VALUE": 0x11,
    "CKA_MODULUS": 0x120,
    "CKA_PUBLIC_EXPONENT": 0x122,
    "CKA_EC_PARAMS": 0x180,
    "CKA_EC_POINT": 0x181,
}
TYPES = NUMBERS | BOOLEANS | BYTES

_COMMON = ("CKA_LABEL", "CKA_PRIVATE", "CKA_MODIFIABLE")
_KEY = ("CKA_KEY_TYPE", "CKA_ID", "CKA_DERIVE")
_SECRET = ("CKA_SENSITIVE", "CKA_EXTRACTABLE", "CKA_WRAP_WITH_TRUSTED")

# What an object is made of again.
TEMPLATE: Mapping[str, tuple[str, ...]] = {
    "data": (*_COMMON, "CKA_APPLICATION", "CKA_OBJECT_ID", "CKA_VALUE"),
    "certificate": (
        *_COMMON,
        *("CKA_CERTIFICATE_TYPE", "CKA_CERTIFICATE_CATEGORY", "CKA_ID", "CKA_SUBJECT", "CKA_ISSUER"),
        *("CKA_SERIAL_NUMBER", "CKA_VALUE"),
    ),
    "public": (
        *(*_COMMON, *_KEY, "CKA_SUBJECT", "CKA_ENCRYPT", "CKA_VERIFY", "CKA_VERIFY_RECOVER", "CKA_WRAP"),
        *("CKA_MODULUS", "CKA_PUBLIC_EXPONENT", "CKA_EC_PARAMS", "CKA_EC_POINT"),
    ),
    "private": (
        *(*_COMMON, *_KEY, *_SECRET, "CKA_SUBJECT", "CKA_ALWAYS_AUTHENTICATE"),
        *("CKA_DECRYPT", "CKA_SIGN", "CKA_SIGN_RECOVER", "CKA_UNWRAP"),
    ),
    "secret": (
        *(*_COMMON, *_KEY, *_SECRET),
        *("CKA_ENCRYPT", "CKA_DECRYPT", "CKA_SIGN", "CKA_VERIFY", "CKA_WRAP", "CKA_UNWRAP"),
    ),
}
# What only proves that an imported key is the one that was exported; a secret key proves itself by its use.
PROOF: Mapping[str, tuple[str, ...]] = {
    "private": ("CKA_MODULUS", "CKA_PUBLIC_EXPONENT", "CKA_EC_PARAMS", "CKA_EC_POINT"),
}
KEY_TYPES = {
    "public": (CKK_RSA, CKK_EC),
    "private": (CKK_RSA, CKK_EC),
    "secret": (CKK_GENERIC_SECRET, CKK_DES3, CKK_AES),
}

Value = bool | int | bytes


def to_json(attributes: Mapping[str, Value]) -> dict[str, Any]:
    """Byte strings in base64; everything else as it is."""
    return {
        name: base64.b64encode(value).decode() if isinstance(value, bytes) else value
        for name, value in attributes.items()
    }


def from_json(kind: str, raw: object) -> dict[str, Value]:
    """The reverse, for an object of class `kind`; ValueError names what does not belong there."""
    if kind not in TEMPLATE or not isinstance(raw, dict):
        raise ValueError("not an object of a class that can be imported")
    allowed = {*TEMPLATE[kind], *PROOF.get(kind, ())}
    return {name: _value(name, value) for name, value in raw.items() if _known(name, allowed)}


def _known(name: str, allowed: set[str]) -> bool:
    if name not in allowed:
        raise ValueError(f"{name!r} is no attribute of such an object here")
    return True


def _value(name: str, value: object) -> Value:
    if name in BOOLEANS and isinstance(value, bool):
        return value
    if name in NUMBERS and type(value) is int and 0 <= value < 2**32:
        return value
    if name in BYTES and isinstance(value, str):
        try:
            return base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError) as error:
            raise ValueError(f"{name} is not base64") from error
    raise ValueError(f"{name} has a value of the wrong kind")
