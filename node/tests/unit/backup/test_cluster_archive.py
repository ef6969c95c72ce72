"""The cluster's own archive: what was written is read back, and nothing else is."""

from __future__ import annotations

import io

import pytest

from keyfold.backup.cluster_archive import ArchivedEntry, ClusterArchiveReader, ClusterArchiveWriter, ClusterLabel
from keyfold.errors import KeyfoldError

LABEL = ClusterLabel(1, "11111111-2222-4333-8444-555555555555", "20261123T023000Z-00000000", 1234)
ENTRIES = [
    ArchivedEntry("/keyfold/v1/cluster", b"{}"),
    ArchivedEntry("/keyfold/v1/invalidated/acme/x.object", bytes(range(256)) * 3),
    ArchivedEntry("/keyfold/v1/records/restore/Zürich", b""),
]


def written(entries: list[ArchivedEntry] = ENTRIES) -> bytes:
    sink = io.BytesIO()
    writer = ClusterArchiveWriter(sink, LABEL)
    for entry in entries:
        writer.add(entry)
    writer.close()
    return sink.getvalue()


def read(data: bytes) -> list[ArchivedEntry]:
    reader = ClusterArchiveReader(io.BytesIO(data))
    assert reader.label == LABEL
    return list(reader.entries())


def test_what_was_written_is_read_back() -> None:
    assert read(written()) == ENTRIES
    assert read(written([])) == []


def test_every_truncation_and_any_addition_is_refused() -> None:
    data = written()
    for length in range(0, len(data), 7):
        with pytest.raises(KeyfoldError, match="not one that Keyfold wrote"):
            read(data[:length])
    with pytest.raises(KeyfoldError, match="the end is not"):
        read(data + b"x")


def test_every_flipped_byte_of_a_header_is_refused() -> None:
    data = written(ENTRIES[:1])
    for at in range(1024, 1536):
        with pytest.raises(KeyfoldError):
            read(data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :])


def test_entries_out_of_order_are_neither_written_nor_read() -> None:
    with pytest.raises(ValueError, match="cannot be archived"):
        written([ENTRIES[1], ENTRIES[0]])
    first, second = (written([entry]) for entry in ENTRIES[:2])
    label = len(written([])) - 1024
    swapped = first[:label] + second[label:-1024].replace(b"00000001", b"00000002") + first[label:]
    with pytest.raises(KeyfoldError):
        read(swapped)


def test_a_newer_format_is_refused() -> None:
    sink = io.BytesIO()
    ClusterArchiveWriter(sink, ClusterLabel(2, *list(vars_of(LABEL))[1:])).close()
    with pytest.raises(KeyfoldError, match="newer format"):
        read(sink.getvalue())


def vars_of(label: ClusterLabel) -> tuple[int, str, str, int]:
    return label.format, label.cluster_uuid, label.set_id, label.revision
