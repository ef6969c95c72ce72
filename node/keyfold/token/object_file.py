"""SoftHSM 2.6's object files as data: parse, identify, describe.

A file is a generation counter and a list of attributes, every integer 8 bytes, big endian:

    generation | { attribute type | kind | value } ...

    kind 1  boolean         1 byte, 0x00 or 0xFF
    kind 2  unsigned long   8 bytes
    kind 3  byte string     length, then that many bytes
    kind 4  attribute map   length in bytes, then { type | kind | value } ... (a wrap or unwrap template)
    kind 5  mechanism set   count, then that many 8-byte mechanism types

There is no end mark: a file cut exactly between two attributes still parses.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TypeAlias

AttributeValue: TypeAlias = "bool | int | bytes | dict[int, AttributeValue] | frozenset[int]"

CKA_CLASS = 0x0
CKA_PRIVATE = 0x2
CKA_LABEL = 0x3
CKA_KEY_TYPE = 0x100
CKA_ID = 0x102
CKA_OS_TOKENLABEL = 0x80005349
CKA_OS_TOKENSERIAL = 0x8000534A
CKA_OS_TOKENFLAGS = 0x8000534B
_LABEL_BYTES = 32

CKF_USER_PIN_COUNT_LOW = 0x00010000
CKF_SO_PIN_COUNT_LOW = 0x00100000
# SoftHSM sets these at a failed login and clears them at the next good one, on whichever node that happened.
LOGIN_FLAGS = CKF_USER_PIN_COUNT_LOW | CKF_SO_PIN_COUNT_LOW

_KIND_BOOLEAN = 1
_KIND_NUMBER = 2
_KIND_BYTES = 3
_KIND_MAP = 4
_KIND_MECHANISMS = 5
_WORD = struct.Struct(">Q")
_HEAD = struct.Struct(">QQ")
_FLAGS_TYPE = _WORD.pack(CKA_OS_TOKENFLAGS)


class TornFile(Exception):
    """The bytes are not a whole object file: empty, being written, or cut short."""


@dataclass(frozen=True)
class ObjectFile:
    """A parsed object file; `attributes` keeps the file's order."""

    generation: int
    attributes: dict[int, AttributeValue]


@dataclass(frozen=True)
class Description:
    """What can be told of an object without its token's PIN.

    `label` and `id` are None where SoftHSM encrypted them (CKA_PRIVATE true) and where they are absent.
    `object_class` and `key_type` are CKO_ and CKK_ numbers; both are None for token.object.
    """

    object_class: int | None
    key_type: int | None
    label: bytes | None
    id: bytes | None
    private: bool


def parse(data: bytes) -> ObjectFile:
    """The object in `data`; raises TornFile when it is not a whole object file."""
    cursor = _Cursor(data)
    generation = cursor.word()
    attributes = {type_: value for _, type_, value in cursor.attributes(len(data))}
    if not attributes:
        raise TornFile("no attributes yet")
    return ObjectFile(generation, attributes)


def check(data: bytes) -> None:
    """Raise TornFile as `parse` does, several times faster: for whoever wants to know no more."""
    _places(data)


def _places(data: bytes) -> dict[int, int]:
    """Where each attribute's value begins; raises TornFile. Whatever is rare, or wrong, the parser looks at."""
    places: dict[int, int] = {}
    at, end = _WORD.size, len(data)
    word, head = _WORD.unpack_from, _HEAD.unpack_from
    try:
        while at < end:
            type_, kind = head(data, at)
            at += _HEAD.size
            places[type_] = at
            if kind == _KIND_BYTES:
                at += _WORD.size + word(data, at)[0]
            elif kind == _KIND_NUMBER:
                at += _WORD.size
            elif kind == _KIND_BOOLEAN:
                at += 1
            elif kind == _KIND_MECHANISMS:
                at += _WORD.size * (1 + word(data, at)[0])
            elif kind == _KIND_MAP and not word(data, at)[0]:
                at += _WORD.size
            else:
                at = end + 1
    except struct.error:
        at = end + 1
    if at == end and places:
        return places
    cursor = _Cursor(data)
    cursor.word()
    places = {type_: offset for offset, type_, _ in cursor.attributes(end)}
    if not places:
        raise TornFile("no attributes yet")
    return places


def identity(data: bytes) -> str:
    """Hex SHA-256 of what the object is, the same on every node.

    Left out: the local generation counter and, in token.object, the flags that every login moves. An ordinary
    object's bytes are not parsed; check them with `parse` where they may be torn.
    """
    if data.find(_FLAGS_TYPE, _WORD.size) < 0:
        return hashlib.sha256(memoryview(data)[_WORD.size :]).hexdigest()
    content = bytearray(data[_WORD.size :])
    cursor = _Cursor(data, _WORD.size)
    for offset, type_, value in cursor.attributes(len(data)):
        if type_ == CKA_OS_TOKENFLAGS and isinstance(value, int):
            _WORD.pack_into(content, offset - _WORD.size, value & ~LOGIN_FLAGS)
    return hashlib.sha256(content).hexdigest()


def describe(data: bytes) -> Description:
    """What an operator may see of the object; raises TornFile."""
    places = _places(data)

    def value(type_: int) -> AttributeValue | None:
        place = places.get(type_)
        return None if place is None else _Cursor(data, place - _WORD.size).value()

    private = value(CKA_PRIVATE) is True
    return Description(
        object_class=_number(value(CKA_CLASS)),
        key_type=_number(value(CKA_KEY_TYPE)),
        label=None if private else _octets(value(CKA_LABEL)),
        id=None if private else _octets(value(CKA_ID)),
        private=private,
    )


def local_generation(data: bytes) -> int | None:
    """The generation counter alone, also of a torn file; None if not even that is whole."""
    return int(_WORD.unpack_from(data)[0]) if len(data) >= _WORD.size else None


def with_generation(data: bytes, generation: int) -> bytes:
    """The same object under another generation counter (0 to 2**64 - 1)."""
    return _WORD.pack(generation) + data[_WORD.size :]


def with_token_name(data: bytes, label: str, serial: str) -> bytes:
    """token.object under another label (at most 32 bytes) and serial number; whatever else it holds stays."""
    names = {CKA_OS_TOKENLABEL: label.encode().ljust(_LABEL_BYTES), CKA_OS_TOKENSERIAL: serial.encode()}
    cursor = _Cursor(data)
    cursor.word()
    parts, done = [], 0
    for offset, type_, value in cursor.attributes(len(data)):
        if type_ in names and isinstance(value, bytes):
            parts += [data[done:offset], _WORD.pack(len(names[type_])), names[type_]]
            done = offset + _WORD.size + len(value)
    return b"".join([*parts, data[done:]])


def _number(value: AttributeValue | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def _octets(value: AttributeValue | None) -> bytes | None:
    return value if isinstance(value, bytes) else None


class _Cursor:
    def __init__(self, data: bytes, at: int = 0) -> None:
        self._data = data
        self._at = at

    def word(self) -> int:
        return int(_WORD.unpack(self._take(_WORD.size))[0])

    def attributes(self, end: int, *, nested: bool = False) -> Iterator[tuple[int, int, AttributeValue]]:
        """(offset of the value, type, value) up to the offset `end`."""
        while self._at < end:
            type_ = self.word()
            kind = self.word()
            # SoftHSM puts no map inside a map; refusing it keeps a forged file from exhausting the stack.
            if nested and kind == _KIND_MAP:
                raise TornFile(f"a map inside a map before byte {self._at}")
            yield self._at, type_, self._value(kind)
        if self._at != end:
            raise TornFile(f"an attribute crosses the end of its map at byte {end}")

    def value(self) -> AttributeValue:
        """The value whose kind comes next."""
        return self._value(self.word())

    def _value(self, kind: int) -> AttributeValue:
        if kind == _KIND_BOOLEAN:
            return self._take(1) != b"\0"
        if kind == _KIND_NUMBER:
            return self.word()
        if kind == _KIND_BYTES:
            return self._take(self.word())
        if kind == _KIND_MAP:
            end = self.word() + self._at
            return {type_: value for _, type_, value in self.attributes(end, nested=True)}
        if kind == _KIND_MECHANISMS:
            return frozenset(self.word() for _ in range(self.word()))
        raise TornFile(f"unknown kind of attribute {kind} before byte {self._at}")

    def _take(self, length: int) -> bytes:
        taken = self._data[self._at : self._at + length]
        if len(taken) != length:
            raise TornFile(f"cut short: {length} bytes expected at byte {self._at}, {len(taken)} there")
        self._at += length
        return taken
