"""The text that age and its plugins exchange: stanzas as in age's header (https://c2sp.org/age-plugin)."""

from __future__ import annotations

import base64
from dataclasses import dataclass
from typing import BinaryIO

# Far above what age sends; a client that never ends a line or a body is not served.
_LINE_BYTES = 1 << 16
_BODY_LINES = 1 << 12
_COLUMNS = 64


@dataclass(frozen=True, slots=True)
class Stanza:
    """`-> type arguments…` and a body."""

    type: str
    arguments: tuple[str, ...] = ()
    body: bytes = b""


def b64encode(data: bytes) -> str:
    """Standard Base64 without padding."""
    return base64.b64encode(data).decode().rstrip("=")


def b64decode(text: str) -> bytes:
    """ValueError for anything but the canonical encoding."""
    data = base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    if b64encode(data) != text:
        raise ValueError("not canonical Base64")
    return data


def write(stream: BinaryIO, stanza: Stanza) -> None:
    """Send one stanza; the last line of a body is always shorter than a full one, if need be empty."""
    body = b64encode(stanza.body)
    lines = [" ".join(("->", stanza.type, *stanza.arguments))]
    lines += [body[at : at + _COLUMNS] for at in range(0, len(body) + 1, _COLUMNS)]
    stream.write(("\n".join(lines) + "\n").encode("ascii"))
    stream.flush()


def read(stream: BinaryIO) -> Stanza:
    """Receive one stanza; ValueError if it is malformed, EOFError where the stream ends."""
    marker, _, head = _line(stream).partition(" ")
    words = head.split(" ")
    if marker != "->" or not all(words):
        raise ValueError("a stanza does not start with '-> type'")
    body = ""
    for _ in range(_BODY_LINES):
        line = _line(stream)
        body += line
        if len(line) < _COLUMNS:
            return Stanza(words[0], tuple(words[1:]), b64decode(body))
        if len(line) > _COLUMNS:
            raise ValueError("a line of a body is too long")
    raise ValueError("a body is too long")


def _line(stream: BinaryIO) -> str:
    line = stream.readline(_LINE_BYTES)
    if not line:
        raise EOFError("the other side closed the connection")
    if not line.endswith(b"\n"):
        raise ValueError("a line is too long or not ended")
    return line[:-1].decode("ascii")
