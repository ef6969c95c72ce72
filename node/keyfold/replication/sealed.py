"""One object as it stands in etcd: metadata and file, sealed under the cluster's data key (docs/formats.md).

Layout: magic `KF1` · epoch (1 byte) · nonce (12 bytes) · AES-256-GCM ciphertext of
`length of metadata (4 bytes, big endian) · metadata (JSON) · file`. The key in etcd is the additional data,
so a value moved to another key does not open. The system partition's own files hold the data key, hence cannot be
sealed with it: magic `KF0`, the same content in clear (SoftHSM's own encryption under a 256-bit PIN remains).
"""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

_SEALED, _CLEAR = b"KF1", b"KF0"
_NONCE_BYTES = 12


@dataclass(frozen=True, slots=True)
class StoredObject:
    """`meta`: class, key_type, label and id (hex or None), created; `data`: the SoftHSM object file."""

    meta: Mapping[str, Any]
    data: bytes


class Sealer(Protocol):
    def seal(self, key: str, content: StoredObject) -> bytes: ...

    def open(self, key: str, value: bytes) -> StoredObject:
        """KeyfoldError `refused` if the value is not one of this cluster for this key."""


def _pack(content: StoredObject) -> bytes:
    meta = canonical(content.meta)
    return struct.pack(">I", len(meta)) + meta + content.data


def _unpack(plain: bytes) -> StoredObject:
    (length,) = struct.unpack_from(">I", plain)
    return StoredObject(json.loads(plain[4 : 4 + length]), plain[4 + length :])


class DataKeySealer:
    """Sealing under the data key of one epoch (32 bytes)."""

    def __init__(self, data_key: bytes, epoch: int = 1) -> None:
        self._aead = AESGCM(data_key)
        self._epoch = epoch

    def seal(self, key: str, content: StoredObject) -> bytes:
        nonce = os.urandom(_NONCE_BYTES)
        head = _SEALED + bytes([self._epoch]) + nonce
        return head + self._aead.encrypt(nonce, _pack(content), key.encode())

    def open(self, key: str, value: bytes) -> StoredObject:
        nonce, ciphertext = value[4 : 4 + _NONCE_BYTES], value[4 + _NONCE_BYTES :]
        if value[:4] != _SEALED + bytes([self._epoch]):
            raise _foreign(key)
        try:
            return _unpack(self._aead.decrypt(nonce, ciphertext, key.encode()))
        except (InvalidTag, ValueError) as error:
            raise _foreign(key) from error


class ClearSealer:
    """For the system partition only."""

    def seal(self, key: str, content: StoredObject) -> bytes:
        return _CLEAR + _pack(content)

    def open(self, key: str, value: bytes) -> StoredObject:
        if value[:3] != _CLEAR:
            raise _foreign(key)
        try:
            return _unpack(value[3:])
        except (ValueError, struct.error) as error:
            raise _foreign(key) from error


def _foreign(key: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the value at {key} in etcd was not sealed by this cluster for this place",
        not_done="the object was not written to any token",
        next_step="keyfold status; then restore the object with playbooks/restore.yml",
    )
