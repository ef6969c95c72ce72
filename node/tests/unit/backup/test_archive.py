from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.backup import ustar
from keyfold.backup.archive import MAX_OBJECT_BYTES, ArchivedObject, ArchiveReader, ArchiveWriter, Label
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

LABEL = Label(1, "cluster", "20261123T023000Z-00000000", "acme", "partition")
ROW = {"name": "acme", "policy": {"key_invalidation": True}}
FILE = "0123abcd-0000-4000-8000-00000000000{}.object"

values = st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text()
json_objects = st.dictionaries(st.text(), values, max_size=4)
objects = st.lists(
    st.tuples(st.integers(0, 9), json_objects, st.binary(max_size=1500)), max_size=6, unique_by=lambda item: item[0]
).map(lambda items: [ArchivedObject(FILE.format(number), meta, data) for number, meta, data in sorted(items)])


def write(items: list[ArchivedObject], row: dict[str, Any] = ROW) -> bytes:
    stream = io.BytesIO()
    writer = ArchiveWriter(stream, LABEL, row)
    for item in items:
        writer.add(item.file, canonical(item.meta), item.data)
    writer.close()
    return stream.getvalue()


def read(data: bytes) -> tuple[Label, Any, list[ArchivedObject]]:
    reader = ArchiveReader(io.BytesIO(data))
    return reader.label, reader.partition_row, list(reader.objects())


@given(objects, json_objects)
def test_what_is_written_is_read_and_always_the_same_bytes(items: list[ArchivedObject], row: dict[str, Any]) -> None:
    data = write(items, row)
    assert read(data) == (LABEL, row, items)
    assert write(items, row) == data


@given(objects)
def test_any_tar_can_read_it(items: list[ArchivedObject]) -> None:
    with tarfile.open(fileobj=io.BytesIO(write(items))) as archive:
        members = {member.name: archive.extractfile(member) for member in archive}
    assert [name for name in members if name.startswith("objects/")] == [f"objects/{item.file}" for item in items]
    for item in items:
        data, meta = members[f"objects/{item.file}"], members[f"meta/{item.file}.json"]
        assert data is not None
        assert meta is not None
        assert data.read() == item.data
        assert json.loads(meta.read()) == item.meta


WHOLE = write(
    [ArchivedObject(FILE.format(number), {"label": "aa"}, bytes([number]) * 700) for number in (1, 2)]
    + [ArchivedObject("token.object", {}, b"t" * 300)]
)


def test_every_truncation_is_refused() -> None:
    for length in range(0, len(WHOLE), 7):
        with pytest.raises(KeyfoldError) as caught:
            read(WHOLE[:length])
        assert caught.value.code == "refused"


def test_no_flipped_bit_reads_as_the_same_archive() -> None:
    """Within an object's data only age's authentication and the object's own digest can notice."""
    good = read(WHOLE)
    for at in range(0, len(WHOLE), 3):
        spoiled = WHOLE[:at] + bytes([WHOLE[at] ^ 4]) + WHOLE[at + 1 :]
        with suppress(KeyfoldError):
            assert read(spoiled) != good


def entry(name: str, content: bytes) -> bytes:
    return ustar.header(name, len(content)) + content + ustar.padding(len(content))


def foreign(change: Callable[[tarfile.TarInfo], None]) -> bytes:
    """An archive whose object is a tar entry of another kind, as a stock tar writes it."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.PAX_FORMAT) as archive:
        info = tarfile.TarInfo(f"objects/{FILE.format(1)}")
        change(info)
        archive.addfile(info)
    return stream.getvalue()


def as_link(info: tarfile.TarInfo) -> None:
    info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"


def as_directory(info: tarfile.TarInfo) -> None:
    info.type = tarfile.DIRTYPE


def with_date(info: tarfile.TarInfo) -> None:
    info.mtime = 1


def with_long_name(info: tarfile.TarInfo) -> None:
    info.name = "objects/" + "a" * 300


HEAD = entry("keyfold.json", canonical(json.loads(WHOLE[512 : WHOLE.index(b"\0", 512)]))) + entry(
    "partition.json", canonical(ROW)
)


def pair(file: str, meta: bytes = b"{}") -> bytes:
    return entry(f"meta/{file}.json", meta) + entry(f"objects/{file}", b"data")


@pytest.mark.parametrize(
    "body",
    [
        pair("../../../etc/passwd"),
        pair("/etc/passwd"),
        pair("a.object"),
        pair(FILE.format(1).upper()),
        pair(FILE.format(1)) + pair(FILE.format(1)),
        pair(FILE.format(2)) + pair(FILE.format(1)),
        entry(f"objects/{FILE.format(1)}", b"data"),
        entry(f"meta/{FILE.format(1)}.json", b"{}"),
        entry(f"meta/{FILE.format(2)}.json", b"{}") + entry(f"objects/{FILE.format(1)}", b"data"),
        pair(FILE.format(1), b"[]"),
        pair(FILE.format(1), b"{ }"),
        pair(FILE.format(1), b'{"a":1,"a":2}'),
        pair(FILE.format(1), b"{"),
        pair(FILE.format(1), b'{"b":1,"a":2}'),
        entry("keyfold.json", b"{}"),
        *(
            entry(f"meta/{FILE.format(1)}.json", b"{}") + foreign(change)
            for change in (as_link, as_directory, with_date, with_long_name)
        ),
    ],
)
def test_an_entry_that_the_writer_would_not_write_is_refused(body: bytes) -> None:
    with pytest.raises(KeyfoldError) as caught:
        read(HEAD + body + ustar.END)
    assert caught.value.code == "refused"


def test_something_after_the_end_is_refused() -> None:
    read(HEAD + ustar.END)
    for tail in (b"x", bytes(512), ustar.END):
        with pytest.raises(KeyfoldError):
            read(HEAD + ustar.END + tail)


def test_sizes_over_the_limit_are_refused_before_they_are_read() -> None:
    class Endless(io.BytesIO):
        def read(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size <= MAX_OBJECT_BYTES
            return super().read(size)

    huge = entry(f"meta/{FILE.format(1)}.json", b"{}") + ustar.header(f"objects/{FILE.format(1)}", 8**11 - 1)
    reader = ArchiveReader(Endless(HEAD + huge))
    with pytest.raises(KeyfoldError, match="longer than"):
        list(reader.objects())


def test_a_newer_format_says_what_to_do() -> None:
    newer = entry("keyfold.json", canonical({"format": 2}))
    with pytest.raises(KeyfoldError, match="format 2"):
        ArchiveReader(io.BytesIO(newer + ustar.END))


@pytest.mark.parametrize("file", ["../x", "", "x.object", FILE.format(0)])
def test_the_writer_refuses_what_no_reader_would_take(file: str) -> None:
    writer = ArchiveWriter(io.BytesIO(), LABEL, ROW)
    writer.add(FILE.format(0), b"{}", b"")
    with pytest.raises(ValueError, match="cannot be archived"):
        writer.add(file, b"{}", b"")
