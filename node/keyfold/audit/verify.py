"""Prove a chain, entry by entry, in constant memory; the first broken link is named. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyfold.audit.entry import REBUILD, Entry, Head, Malformed, decode, key_fingerprint, signed


class Broken(Exception):
    """`seq`: the first entry that is not as it must be; `reason`: a sentence."""

    def __init__(self, seq: int, reason: str) -> None:
        super().__init__(f"entry {seq}: {reason}")
        self.seq = seq
        self.reason = reason


class ChainCheck:
    """Feed it every key under `audit/chain/` in key order, then `finish`. `keys`: epoch → public key (32 bytes)."""

    def __init__(self, cluster_uuid: str, keys: Mapping[int, bytes], expected: Mapping[int, str] | None = None) -> None:
        """`expected`: entries known from elsewhere, seq → hash, that must be in the chain."""
        self._last = Head.start(cluster_uuid)
        self._keys = keys
        self._expected = expected or {}

    @property
    def head(self) -> Head:
        """The last entry that was proven."""
        return self._last

    def feed(self, name: str, value: bytes) -> Entry:
        """`name`: the key without its prefix. Broken if this is not the next entry of the chain."""
        seq = self._last.seq + 1
        if name != f"{seq:016}":
            raise Broken(seq, f"it is missing; the next key is {name!r}")
        try:
            entry = decode(value)
        except Malformed as error:
            raise Broken(seq, f"it was altered: {error}") from error
        self._check_signature(seq, entry)
        fields = entry.fields
        if fields["seq"] != seq:
            raise Broken(seq, f"it is entry {fields['seq']}, put in another place")
        if fields["previous"] != self._last.hash:
            raise Broken(seq, "its 'previous' is not the hash of the entry before it")
        # A rebuilt cluster has a new etcd, whose revisions begin anew; its first entry says so.
        if fields["revision"] < self._last.revision and entry.note.get("what") != REBUILD:
            raise Broken(seq, f"it links revision {fields['revision']} after {self._last.revision}")
        if entry.hash != self._expected.get(seq, entry.hash):
            raise Broken(seq, f"its hash is {entry.hash}, expected was {self._expected[seq]}")
        self._last = Head(seq, entry.hash, fields["revision"])
        return entry

    def finish(self, head: Head | None) -> None:
        """Broken unless the head is the last entry's: entries at the end may have been removed."""
        beyond = min((seq for seq in self._expected if not 1 <= seq <= self._last.seq), default=None)
        if beyond is not None:
            raise Broken(beyond, f"it is expected, and the chain ends at {self._last.seq}")
        if head is None and self._last.seq == 0:
            return
        if head is None:
            raise Broken(self._last.seq + 1, "the chain's head is missing")
        if head.seq != self._last.seq:
            raise Broken(self._last.seq + 1, f"the chain ends at {self._last.seq}, its head says {head.seq}")
        if head != self._last:
            raise Broken(self._last.seq, "the chain's head does not name this entry")

    def _check_signature(self, seq: int, entry: Entry) -> None:
        epoch = entry.fields["epoch"]
        key = self._keys.get(epoch)
        if key is None:
            raise Broken(seq, f"no audit key of epoch {epoch} is known")
        if entry.fields["key"] != key_fingerprint(key):
            raise Broken(seq, f"it names the key {entry.fields['key']}, the cluster's is {key_fingerprint(key)}")
        try:
            Ed25519PublicKey.from_public_bytes(key).verify(entry.signature, signed(entry.body))
        except InvalidSignature:
            raise Broken(seq, "its signature is not the cluster's over this content") from None
