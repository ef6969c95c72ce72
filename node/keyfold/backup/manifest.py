"""The manifest that makes uploaded archives a backup set: two lines of canonical JSON (docs/formats.md).

    line 1   the manifest
    line 2   {"ed25519": base64 of the signature over DOMAIN + line 1, "key": fingerprint of the signing key}

Format 2 adds the epoch of the keys, what tells this cluster's shares from others, and the cluster's own archive.
Everything here is pure. What is wrong with a manifest is KeyfoldError `refused`.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyfold.backup import statement
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

FORMAT = 2
NAME = "manifest.jsonl"
MAX_BYTES = 16 << 20
DOMAIN = b"keyfold backup manifest v1\0"
DAILY = "daily"
# What a partition held before a restore changed or removed something of it.
SAFETY = "safety"
# On an offline medium, sealed to the medium's own key, in no chain with the others.
MEDIUM = "medium"


@dataclass(frozen=True, slots=True)
class ArchiveEntry:
    """One partition in the set; `archive` is its file beside the manifest, sizes in bytes, hash in hex.

    `size_bytes` is the archive's own length; `objects` counts the object files in it.
    """

    name: str
    uuid: str
    archive: str
    objects: int
    size_bytes: int
    ciphertext_sha256: str


@dataclass(frozen=True, slots=True)
class Difference:
    """Where the backing node's own HSM files were not what the cluster had committed.

    `kind`: `missing` or `changed` on the node, or `extra` there.
    """

    partition: str
    file: str
    kind: str


@dataclass(frozen=True, slots=True)
class Manifest:
    """`sequence` counts the cluster's sets from 1; `previous_sha256` is the hash of the manifest before ("" for 1).

    `created`: RFC 3339, UTC; `revision`: the etcd revision everything was read at; `node`: who made the set.
    """

    format: int
    cluster_uuid: str
    backup_key_fingerprint: str
    signing_key_fingerprint: str
    set_id: str
    sequence: int
    previous_sha256: str
    created: str
    retention_class: str
    revision: int
    node: str
    partitions: tuple[ArchiveEntry, ...]
    differences: tuple[Difference, ...]
    # From format 2 on:
    backup_epoch: int = 1
    """Of the backup key and of the key that signed; on a medium, whose key has no epoch, of the latter."""
    root_fingerprint: str = ""
    """Of the root that all of the cluster's keys derive from; "" where there was no ceremony."""
    share_identifier: int = -1
    """The shares' SLIP-39 identifier; -1 where there was no ceremony."""
    share_threshold: int = 0
    cluster: tuple[ArchiveEntry, ...] = ()
    """The cluster's own archive: one entry, none in format 1."""

    @property
    def archives(self) -> tuple[ArchiveEntry, ...]:
        """Everything that the store must have of the set."""
        return self.partitions + self.cluster

    def partition(self, name: str) -> ArchiveEntry | None:
        return next((entry for entry in self.partitions if entry.name == name), None)


_FORMAT_2: dict[str, Any] = {
    "backup_epoch": 1,
    "root_fingerprint": "",
    "share_identifier": -1,
    "share_threshold": 0,
    "cluster": (),
}


@dataclass(frozen=True, slots=True)
class Cluster:
    """What a manifest is checked against. Keys: 32 bytes (RFC 8032); `older` are those before the current one."""

    uuid: str
    signing_public_key: bytes
    older: tuple[bytes, ...] = ()

    def key(self, fingerprint: str) -> bytes:
        """The key that a manifest names; the current one where it names none of ours."""
        named = (key for key in self.older if fingerprint == f"SHA256:{hashlib.sha256(key).hexdigest()}")
        return next(named, self.signing_public_key)


def sha256(document: bytes) -> str:
    """The hash that chains manifests: over the whole document."""
    return hashlib.sha256(document).hexdigest()


def signed(manifest: Manifest, sign: Callable[[bytes], bytes]) -> bytes:
    """The document to publish; `sign` makes an Ed25519 signature (64 bytes)."""
    return statement.signed(_as_json(manifest), DOMAIN, sign)


def verify(document: bytes, cluster: Cluster) -> Manifest:
    """The manifest, if the cluster signed these very bytes.

    KeyfoldError `refused`: unsigned, altered, of another cluster, or of a format this Keyfold does not know.
    """
    lines = document.split(b"\n")
    if len(lines) == 1 or lines[1:] == [b""]:
        raise _refused("it is not signed")
    try:
        raw, seal = json.loads(lines[0]), json.loads(lines[1])
        if raw["cluster_uuid"] != cluster.uuid:
            raise _foreign(str(raw["cluster_uuid"]))
        signature = base64.b64decode(seal["ed25519"], validate=True)
        if statement.document(lines[0], signature, str(seal["key"])) != document:
            raise _refused("it is not in canonical form")
        key = cluster.key(str(seal["key"]))
        Ed25519PublicKey.from_public_bytes(key).verify(signature, DOMAIN + lines[0])
        return _parse(raw, lines[0], str(seal["key"]))
    except InvalidSignature as error:
        raise _refused("its signature is not this cluster's, or it was altered") from error
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise _refused(f"it cannot be read: {error}") from error


def _as_json(manifest: Manifest) -> dict[str, Any]:
    return {key: value for key, value in asdict(manifest).items() if manifest.format > 1 or key not in _FORMAT_2}


def _parse(raw: Any, body: bytes, key: str) -> Manifest:
    if isinstance(raw["format"], int) and raw["format"] > FORMAT:
        raise _refused(f"it has format {raw['format']}, this Keyfold reads up to {FORMAT}: install a newer one")
    added = {} if raw["format"] > 1 else _FORMAT_2
    manifest = _typed(
        Manifest,
        raw
        | added
        | {
            "partitions": tuple(_typed(ArchiveEntry, entry) for entry in raw["partitions"]),
            "differences": tuple(_typed(Difference, entry) for entry in raw["differences"]),
            "cluster": tuple(_typed(ArchiveEntry, entry) for entry in (raw | added)["cluster"]),
        },
    )
    known = manifest.format in (1, FORMAT)
    if not known or manifest.signing_key_fingerprint != key or canonical(_as_json(manifest)) != body:
        raise _refused("it is not in canonical form")
    return manifest


T = TypeVar("T", Manifest, ArchiveEntry, Difference)
_TYPES = {"str": str, "int": int}


def _typed(kind: type[T], raw: Mapping[str, Any]) -> T:
    """`kind(**raw)` with exactly its fields, each of its declared type."""
    for field in fields(kind):
        expected = _TYPES.get(str(field.type), tuple)
        if type(raw[field.name]) is not expected:
            raise TypeError(f"{field.name} is no {expected.__name__}")
    return kind(**raw)


def _refused(reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"a backup manifest is refused: {reason}",
        not_done="nothing was written",
        next_step="keyfold backup list, and use another set",
    )


def _foreign(uuid: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"this is a backup of another cluster: {uuid}",
        not_done="nothing was written",
        next_step="restore it on that cluster, or use a set of this one: keyfold backup list",
    )
