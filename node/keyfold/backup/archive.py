"""One partition's archive: a tar stream, written and read front to back (docs/formats.md).

    keyfold.json            whose archive this is: format, cluster, set, partition
    partition.json          the partition's row: policy, package, token
    meta/<file>.json        metadata of one object …
    objects/<file>          … and its SoftHSM object file, for every object, ordered by file

The reader accepts exactly what the writer writes.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from keyfold.backup import ustar
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

FORMAT = 1
TOKEN_OBJECT = "token.object"  # noqa: S105 - a file, no secret
MAX_JSON_BYTES = 1 << 20
MAX_OBJECT_BYTES = 16 << 20

_FILE = re.compile(r"(?:token|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})\.object")


class Sink(Protocol):
    def write(self, data: bytes, /) -> object: ...


class Source(Protocol):
    def read(self, size: int, /) -> bytes: ...


@dataclass(frozen=True, slots=True)
class Label:
    """The first entry: it binds the archive to its place, so that archives cannot be swapped."""

    format: int
    cluster_uuid: str
    set_id: str
    partition: str
    partition_uuid: str


@dataclass(frozen=True, slots=True)
class ArchivedObject:
    """`file`: its name in the token directory; `meta` as in a snapshot; `data`: the SoftHSM object file."""

    file: str
    meta: Mapping[str, Any]
    data: bytes


class ArchiveWriter:
    """Writes one archive to `sink`; `close` ends it. ValueError for what a reader would refuse."""

    def __init__(self, sink: Sink, label: Label, partition_row: Mapping[str, Any]) -> None:
        self._sink = sink
        self._last_file = ""
        self._add("keyfold.json", canonical(asdict(label)))
        self._add("partition.json", canonical(partition_row))

    def add(self, file: str, meta: bytes, data: bytes) -> None:
        """An object, its metadata as `canonical` has it. Objects come in ascending order of `file`."""
        if not _FILE.fullmatch(file) or file <= self._last_file or len(data) > MAX_OBJECT_BYTES:
            raise ValueError(f"cannot be archived after {self._last_file!r}: {file!r}, {len(data)} bytes")
        self._last_file = file
        self._sink.write(b"".join((*_entry(f"meta/{file}.json", meta), *_entry(f"objects/{file}", data))))

    def close(self) -> None:
        self._sink.write(ustar.END)

    def _add(self, name: str, content: bytes) -> None:
        self._sink.write(b"".join(_entry(name, content)))


def _entry(name: str, content: bytes) -> tuple[bytes, bytes, bytes]:
    return ustar.header(name, len(content)), content, ustar.padding(len(content))


class ArchiveReader:
    """Reads one archive from `source`, strictly in order; what is not as written is KeyfoldError `refused`.

    `label` and `partition_row` are there at once; `objects` then yields every object and checks the end.
    """

    def __init__(self, source: Source) -> None:
        self._source = source
        try:
            name, content = self._next(MAX_JSON_BYTES)
            self.label = _label(name, content)
            self.partition_row = json_object(*self._next(MAX_JSON_BYTES), expected="partition.json")
        except ValueError as error:
            raise not_ours(error) from error

    def objects(self) -> Iterator[ArchivedObject]:
        try:
            yield from self._objects()
        except ValueError as error:
            raise not_ours(error) from error

    def _objects(self) -> Iterator[ArchivedObject]:
        last_file = ""
        while (block := exactly(self._source, ustar.BLOCK)).strip(b"\0"):
            meta_name, meta_bytes = read_entry(self._source, block, MAX_JSON_BYTES)
            name, data = self._next(MAX_OBJECT_BYTES)
            folder, _, file = name.partition("/")
            if folder != "objects" or not _FILE.fullmatch(file) or file <= last_file:
                raise ValueError(f"the entry {name!r} does not belong after {last_file!r}")
            yield ArchivedObject(file, json_object(meta_name, meta_bytes, expected=f"meta/{file}.json"), data)
            last_file = file
        if block + exactly(self._source, ustar.BLOCK) != ustar.END or self._source.read(1):
            raise ValueError("the end is not where it should be")

    def _next(self, limit: int) -> tuple[str, bytes]:
        return read_entry(self._source, exactly(self._source, ustar.BLOCK), limit)


def read_entry(source: Source, block: bytes, limit: int) -> tuple[str, bytes]:
    """(name, content) of the entry with the header `block`; ValueError if it is not as written, or too long."""
    name, size = ustar.parse(block)
    if size > limit:
        raise ValueError(f"the entry {name!r} is longer than {limit} bytes")
    content = exactly(source, size)
    if exactly(source, len(ustar.padding(size))).strip(b"\0"):
        raise ValueError(f"the entry {name!r} is followed by something")
    return name, content


def exactly(source: Source, size: int) -> bytes:
    """ValueError if there are fewer bytes."""
    data = source.read(size) if size else b""
    if len(data) != size:
        raise ValueError("it ends too early")
    return data


def _label(name: str, content: bytes) -> Label:
    raw = json_object(name, content, expected="keyfold.json")
    if isinstance(raw.get("format"), int) and raw["format"] > FORMAT:
        raise ValueError(f"it has format {raw['format']}, this Keyfold reads up to {FORMAT}")
    types = {"format": int} | {field.name: str for field in fields(Label) if field.name != "format"}
    if {key: type(value) for key, value in raw.items()} != types or raw["format"] != FORMAT:
        raise ValueError("its first entry is not a label")
    return Label(**raw)


def json_object(name: str, content: bytes, *, expected: str) -> dict[str, Any]:
    """The canonical JSON object of the entry `expected`; ValueError if it is another."""
    value = json.loads(content) if name == expected else None
    if not isinstance(value, dict) or canonical(value) != content:
        raise ValueError(f"where {expected!r} belongs there is {name!r}, or it is not canonical")
    return value


def not_ours(reason: ValueError) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the archive is not one that Keyfold wrote: {reason}",
        not_done="nothing was written",
        next_step="keyfold backup verify; then restore from another set",
    )
