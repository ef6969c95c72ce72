"""An entry of the audit chain, to the byte (docs/audit.md). Pure.

value = body | 0x0a | signature, 128 hex digits, lower case
body  = canonical JSON: {"epoch","key","linked","linked_by","note","previous","revision","seq","v":1}
signature = Ed25519 (RFC 8032) of the cluster's audit key over "keyfold audit entry v1" 0x00 | body
hash  = SHA-256(body); "previous" is the hash of the entry before, or GENESIS of the cluster for the first
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from keyfold.audit.note import canonical

VERSION = 1
# What the first entry after a rebuild says: revisions begin anew with it.
REBUILD = "rebuild"
SIGNATURE_BYTES = 64
_PURPOSE = b"keyfold audit entry v1\0"
_FIELDS = frozenset({"epoch", "key", "linked", "linked_by", "note", "previous", "revision", "seq", "v"})
_NUMBERS = ("epoch", "revision", "seq", "v")
_TEXTS = ("key", "linked", "linked_by", "previous")


class Malformed(ValueError):
    """What the chain holds is no entry; the message says why."""


@dataclass(frozen=True, slots=True)
class Head:
    """The end of the chain: `seq` entries, the last with `hash`, linking notes up to etcd revision `revision`."""

    seq: int
    hash: str
    revision: int

    def encode(self) -> bytes:
        return canonical({"seq": self.seq, "hash": self.hash, "revision": self.revision})

    @classmethod
    def decode(cls, value: bytes) -> Head:
        row = json.loads(value)
        return cls(row["seq"], row["hash"], row["revision"])

    @classmethod
    def start(cls, cluster_uuid: str) -> Head:
        """Before the first entry; the cluster's UUID in it keeps chains of two clusters apart."""
        return cls(0, hashlib.sha256(b"keyfold/v1/audit/" + str(UUID(cluster_uuid)).encode()).hexdigest(), 0)


@dataclass(frozen=True, slots=True)
class Entry:
    """`fields` as listed above; `body` the bytes that are hashed and signed."""

    body: bytes
    signature: bytes
    fields: Mapping[str, Any]

    @property
    def hash(self) -> str:
        return hashlib.sha256(self.body).hexdigest()

    @property
    def note(self) -> Mapping[str, Any]:
        note: Mapping[str, Any] = self.fields["note"]
        return note


def key_fingerprint(public_key: bytes) -> str:
    return "SHA256:" + hashlib.sha256(public_key).hexdigest()


def body(note: bytes, *, previous: Head, revision: int, epoch: int, public_key: bytes, node: str, linked: str) -> bytes:
    """What is signed for the entry after `previous`; `note` is the pending value as etcd holds it."""
    return canonical(
        {
            "v": VERSION,
            "seq": previous.seq + 1,
            "previous": previous.hash,
            "revision": revision,
            "epoch": epoch,
            "key": key_fingerprint(public_key),
            "linked_by": node,
            "linked": linked,
            "note": _readable(note),
        }
    )


def after(previous: Head, body: bytes, revision: int) -> Head:
    return Head(previous.seq + 1, hashlib.sha256(body).hexdigest(), revision)


def signed(body: bytes) -> bytes:
    """What the audit key signs for this body."""
    return _PURPOSE + body


def encode(body: bytes, signature: bytes) -> bytes:
    return body + b"\n" + signature.hex().encode()


def decode(value: bytes) -> Entry:
    """Malformed unless it is an entry in exactly this form; the signature is not checked here."""
    body, newline, tail = value.rpartition(b"\n")
    signature = _signature(tail)
    if not newline or signature is None:
        raise Malformed("the signature is not 128 hex digits")
    try:
        fields = json.loads(body)
        exact = isinstance(fields, dict) and canonical(fields) == body
    except (ValueError, RecursionError):
        exact = False
    if not exact:
        raise Malformed("the body is not canonical JSON")
    if set(fields) != _FIELDS or fields["v"] != VERSION:
        raise Malformed("the fields are not those of version 1")
    if not all(type(fields[name]) is int for name in _NUMBERS) or not all(type(fields[name]) is str for name in _TEXTS):
        raise Malformed("a field has the wrong type")
    if not isinstance(fields["note"], dict):
        raise Malformed("the note is no object")
    return Entry(body, signature, fields)


def _signature(tail: bytes) -> bytes | None:
    try:
        signature = bytes.fromhex(tail.decode("ascii"))
    except ValueError:
        return None
    # Upper-case digits would be a second form of the same entry.
    return signature if len(signature) == SIGNATURE_BYTES and signature.hex().encode() == tail else None


def _readable(note: bytes) -> Mapping[str, Any]:
    """The note; something else under `pending/`, whoever wrote it, becomes an entry too: it does not stop the chain."""
    try:
        fields = json.loads(note)
        if isinstance(fields, dict) and len(canonical(fields)) <= len(note):
            return fields
    except (ValueError, RecursionError):
        pass
    return {"what": "unreadable note", "who": "unknown", "size": len(note), "sha256": hashlib.sha256(note).hexdigest()}
