"""The copy of a medium's private key that daily backups carry, sealed to the cluster's backup key (docs/formats.md).

Nodes use the key in their token. The copy is for one thing: a cluster that is rebuilt has a new token.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from keyfold.backup import stanza
from keyfold.backup.age_ipc import b64decode, b64encode
from keyfold.backup.stanza import WrappedKey
from keyfold.custody.derive import SCALAR_BYTES

Sealed = dict[str, str]
"""`tag`, `share`, `body` of a `WrappedKey`, Base64 without padding."""


def _info(medium: str) -> bytes:
    # With the ID in it, a copy cannot pass for that of another medium.
    return b"keyfold/v1/medium/" + medium.encode()


def seal(scalar: int, medium: str, point: bytes) -> Sealed:
    """The private scalar sealed to the backup key `point`."""
    wrapped = stanza.wrap(scalar.to_bytes(SCALAR_BYTES, "big"), point, _info(medium))
    return {"tag": b64encode(wrapped.tag), "share": b64encode(wrapped.share), "body": b64encode(wrapped.body)}


def tag(sealed: Mapping[str, str]) -> bytes:
    """Which backup key it is sealed to."""
    return b64decode(sealed["tag"])


def unseal(sealed: Mapping[str, str], medium: str, point: bytes, ecdh: Callable[[bytes], bytes]) -> int:
    """The private scalar; `point` and `ecdh` are of the backup key with that tag. ValueError if it was altered."""
    wrapped = WrappedKey(*(b64decode(sealed[name]) for name in ("tag", "share", "body")))
    return int.from_bytes(stanza.unwrap(wrapped, point, ecdh, _info(medium)), "big")
