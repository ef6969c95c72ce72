"""Ship linked entries to this node's journal, in order, and notice a chain that was rewritten.

Every node ships every entry: whoever cuts the chain in etcd, or takes over one node, still has the other nodes'
journals against him. A node remembers the last entry it shipped (`seq` and hash) on its own disk: it ships on from
there after a restart (an entry may come twice, none is left out), and an entry that no longer follows from it is an
alarm. A node that joins ships what comes from then on.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from keyfold.audit import read
from keyfold.audit.entry import Entry, Head, Malformed, decode
from keyfold.audit.journal import ALERT, NOTICE, Journal
from keyfold.replication import keys
from keyfold.store.interface import Store

_FIELD_BYTES = 16 * 1024
_NOTE_FIELDS = ("what", "who", "node", "time", "partition", "ticket")


class Shipper:
    """`position`: the file that remembers. One thread."""

    def __init__(self, store: Store, journal: Journal, position: Path) -> None:
        self._store = store
        self._journal = journal
        self._position = position
        self.problem = ""

    def ship(self) -> int:
        """Log what is new; how many. OSError if the journal does not take it, or the position cannot be kept."""
        head, last = read.head(self._store), self._remembered()
        if last is None:
            self._remember(head or Head(0, "", 0))
            return 0
        if head is None and not last.seq:
            return 0  # nothing was linked yet
        if head is None or head.seq < last.seq:
            self._alarm(last.seq, f"the chain has {0 if head is None else head.seq} entries, {last.seq} were shipped")
            return 0
        if head.seq == last.seq:
            if head.hash != last.hash and last.hash:
                self._alarm(last.seq, "the last entry is not the one that was shipped")
            return 0
        count = 0
        for item in read.entries(self._store, last.seq + 1, head.seq):
            last = self._one(item.key.removeprefix(keys.AUDIT_CHAIN), item.value, last)
            count += 1
        self._remember(last)
        return count

    def _one(self, name: str, value: bytes, last: Head) -> Head:
        seq = int(name)
        try:
            entry = decode(value)
        except Malformed as error:
            self._alarm(seq, f"it was altered: {error}")
            return Head(seq, "", 0)
        if seq != last.seq + 1 or (last.hash and entry.fields["previous"] != last.hash):
            self._alarm(seq, f"it does not follow entry {last.seq} as it was shipped")
        self._journal.send(_message(entry), NOTICE, _fields(entry))
        return Head(seq, entry.hash, entry.fields["revision"])

    def _alarm(self, seq: int, reason: str) -> None:
        problem = f"the audit chain was rewritten: entry {seq}: {reason} (keyfold audit verify; docs/audit.md)"
        if problem != self.problem:
            self._journal.send(problem, ALERT, {"KEYFOLD_AUDIT_BROKEN": str(seq)})
            self.problem = problem

    def _remembered(self) -> Head | None:
        try:
            return Head.decode(self._position.read_bytes())
        except (FileNotFoundError, ValueError, KeyError):
            return None

    def _remember(self, last: Head) -> None:
        fresh = self._position.with_suffix(".new")
        fresh.write_bytes(last.encode())
        fresh.rename(self._position)


def _message(entry: Entry) -> str:
    note = entry.note
    where = f" in partition {note['partition']}" if "partition" in note else ""
    return f"audit {entry.fields['seq']}: {note.get('what')} by {note.get('who')}{where} on {note.get('node')}"


def _fields(entry: Entry) -> dict[str, str]:
    fields = {f"KEYFOLD_{name.upper()}": _text(entry.note[name]) for name in _NOTE_FIELDS if name in entry.note}
    return {
        **fields,
        "KEYFOLD_AUDIT_SEQ": str(entry.fields["seq"]),
        "KEYFOLD_AUDIT_HASH": entry.hash,
        "KEYFOLD_AUDIT_REVISION": str(entry.fields["revision"]),
        "KEYFOLD_AUDIT_SIGNATURE": entry.signature.hex(),
        # The exact bytes that were signed: the journal alone can prove the entry.
        "KEYFOLD_AUDIT_ENTRY": entry.body.decode(),
    }


def _text(value: Any) -> str:
    return (value if isinstance(value, str) else json.dumps(value))[:_FIELD_BYTES]
