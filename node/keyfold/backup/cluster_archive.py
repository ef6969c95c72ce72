"""The cluster's own archive in a set: what etcd held beside live objects, for a cluster that is lost as a whole.

    keyfold.json        whose archive this is: format, cluster, set, etcd revision
    entries/<number>    length of the key (2 bytes, big endian) | key in etcd (UTF-8) | value …

Numbers are 8 digits from 1 on, keys ascend: partitions' rows, invalidated objects, records, the audit log, the
cluster's row. Invalidated objects are sealed under the data key and bound to their keys, so they come back as they
are. A tar stream like a partition's archive (docs/formats.md); the reader accepts exactly what the writer writes.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from keyfold.backup import ustar
from keyfold.backup.archive import (
    MAX_JSON_BYTES,
    MAX_OBJECT_BYTES,
    Sink,
    Source,
    exactly,
    json_object,
    not_ours,
    read_entry,
)
from keyfold.json_bytes import canonical

FORMAT = 1
# Of the archive's name in the store. No partition can be called so.
STEM = "_cluster"
_LABEL = {"format": int, "cluster_uuid": str, "set_id": str, "revision": int}


@dataclass(frozen=True, slots=True)
class ClusterLabel:
    """The first entry: it binds the archive to its place. `revision`: of etcd, that of the whole set."""

    format: int
    cluster_uuid: str
    set_id: str
    revision: int


@dataclass(frozen=True, slots=True)
class ArchivedEntry:
    """One key in etcd, in full (docs/interfaces.md §4), and its value."""

    key: str
    value: bytes


class ClusterArchiveWriter:
    """Writes one archive to `sink`; `close` ends it. ValueError for what a reader would refuse."""

    def __init__(self, sink: Sink, label: ClusterLabel) -> None:
        self._sink = sink
        self._number = 0
        self._last = ""
        self._add("keyfold.json", canonical(asdict(label)))

    def add(self, entry: ArchivedEntry) -> None:
        """Entries come in ascending order of `key`."""
        key = entry.key.encode()
        content = len(key).to_bytes(2, "big") + key + entry.value
        if entry.key <= self._last or len(content) > MAX_OBJECT_BYTES:
            raise ValueError(f"cannot be archived after {self._last!r}: {entry.key!r}, {len(content)} bytes")
        self._last = entry.key
        self._number += 1
        self._add(f"entries/{self._number:08d}", content)

    def close(self) -> None:
        self._sink.write(ustar.END)

    def _add(self, name: str, content: bytes) -> None:
        self._sink.write(ustar.header(name, len(content)) + content + ustar.padding(len(content)))


class ClusterArchiveReader:
    """Reads one archive from `source`, strictly in order; what is not as written is KeyfoldError `refused`.

    `label` is there at once; `entries` then yields every entry and checks the end.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            self.label = _label(*read_entry(source, exactly(source, ustar.BLOCK), MAX_JSON_BYTES))
        except ValueError as error:
            raise not_ours(error) from error

    def entries(self) -> Iterator[ArchivedEntry]:
        try:
            yield from self._entries()
        except ValueError as error:
            raise not_ours(error) from error

    def _entries(self) -> Iterator[ArchivedEntry]:
        number, last = 0, ""
        while (block := exactly(self._source, ustar.BLOCK)).strip(b"\0"):
            number += 1
            name, content = read_entry(self._source, block, MAX_OBJECT_BYTES)
            length = int.from_bytes(content[:2], "big")
            key = content[2 : 2 + length].decode()
            if name != f"entries/{number:08d}" or len(content) < 2 + length or key <= last:
                raise ValueError(f"the entry {name!r} does not belong after {last!r}")
            last = key
            yield ArchivedEntry(key, content[2 + length :])
        if block + exactly(self._source, ustar.BLOCK) != ustar.END or self._source.read(1):
            raise ValueError("the end is not where it should be")


def _label(name: str, content: bytes) -> ClusterLabel:
    raw: dict[str, Any] = json_object(name, content, expected="keyfold.json")
    if {key: type(value) for key, value in raw.items()} != _LABEL or raw["format"] != FORMAT:
        raise ValueError("its first entry is not a label of a cluster's archive, or of a newer format")
    return ClusterLabel(**raw)
