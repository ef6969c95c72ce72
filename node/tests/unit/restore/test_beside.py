"""A partition of a backup under another name: what changes, and what must not."""

from __future__ import annotations

import struct

from keyfold.backup.archive import ArchivedObject
from keyfold.restore.beside import beside
from keyfold.restore.fetch import ArchiveIndex
from keyfold.restore.select import IndexedObject
from keyfold.token.object_file import CKA_OS_TOKENLABEL, CKA_OS_TOKENSERIAL, identity, parse

SECRET, FLAGS = 0x8000534D, 0x8000534B


def token(label: bytes, serial: bytes) -> bytes:
    def octets(kind: int, value: bytes) -> bytes:
        return struct.pack(">QQQ", kind, 3, len(value)) + value

    body = octets(CKA_OS_TOKENLABEL, label) + octets(CKA_OS_TOKENSERIAL, serial)
    return struct.pack(">Q", 7) + body + struct.pack(">QQQ", FLAGS, 2, 0x42D) + octets(SECRET, b"PIN blob")


def index() -> ArchiveIndex:
    data = token(b"acme".ljust(32), b"0123456789abcdef")
    row = {"name": "acme", "uuid": "u", "token_uuid": "t", "package": "ECO", "created": "then"}
    objects = (IndexedObject("token.object", None, None, None, len(data), identity(data)),)
    return ArchiveIndex(row, objects, ArchivedObject("token.object", {}, data), None)


def test_the_token_has_the_new_name_and_keeps_its_pins() -> None:
    made = beside(index(), "acme-2026", "ab" * 32, "now")
    assert made.token is not None
    attributes = parse(made.token.data).attributes
    serial = made.row["token_uuid"].replace("-", "")[:16]
    assert attributes[CKA_OS_TOKENLABEL] == b"acme-2026".ljust(32)
    assert attributes[CKA_OS_TOKENSERIAL] == serial.encode()
    assert (attributes[SECRET], attributes[FLAGS]) == (b"PIN blob", 0x42D)
    assert made.objects[0].digest == identity(made.token.data)
    assert (made.row["name"], made.row["package"], made.row["created"]) == ("acme-2026", "ECO", "now")


def test_the_same_request_makes_the_same_partition_and_another_another() -> None:
    first, again = (beside(index(), "acme-2026", "ab" * 32, when) for when in ("now", "later"))
    other = beside(index(), "acme-2026", "cd" * 32, "now")
    assert (first.row["uuid"], first.token) == (again.row["uuid"], again.token)
    assert {first.row["uuid"], first.row["token_uuid"]}.isdisjoint({other.row["uuid"], other.row["token_uuid"]})
