"""Hostile input: bytes that are nearly right, made from recorded ones, and JSON that is right and means nonsense."""

from __future__ import annotations

import base64
import json
import random
import socket
import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

# p11-kit's frame: call, length of options, length of body, each 32 bits, big endian (rpc-transport.c).
HEADER = struct.Struct(">III")
# Of what is said byte by byte.
_DROPS = 400
_LENGTHS = (0, 1, 2, 255, 65_535, 65_536, 2**24, 2**31 - 1, 2**31, 2**32 - 1)


@dataclass(frozen=True)
class Message:
    """One frame of p11-kit's remote protocol."""

    call: int
    options: bytes
    body: bytes

    def encoded(self) -> bytes:
        return HEADER.pack(self.call, len(self.options), len(self.body)) + self.options + self.body


def messages(stream: bytes) -> list[Message]:
    """A recorded conversation's frames, after the one byte that says the protocol's version."""
    found, at = [], 1
    while at < len(stream):
        call, options, body = HEADER.unpack_from(stream, at)
        at += HEADER.size
        found.append(Message(call, stream[at : at + options], stream[at + options : at + options + body]))
        at += options + body
    return found


def altered(rng: random.Random, data: bytes, others: Sequence[bytes]) -> bytes:
    """Flipped, overwritten, cut, doubled, or spliced with another; never longer than a few kilobytes more."""
    out = bytearray(data)
    for _ in range(rng.choice((1, 1, 1, 2, 4))):
        at = rng.randrange(len(out) + 1)
        kind = rng.randrange(7)
        if kind == 0 and at < len(out):
            out[at] ^= 1 << rng.randrange(8)
        elif kind == 1 and at < len(out):
            out[at] = rng.choice((0, 1, 0x7F, 0x80, 0xFF))
        elif kind == 2 and at + 4 <= len(out):
            out[at : at + 4] = struct.pack(">I", rng.choice(_LENGTHS))
        elif kind == 3:
            del out[at:]
        elif kind == 4:
            out[at:at] = rng.randbytes(rng.choice((1, 4, 8, 300)))
        elif kind == 5:
            out[at:] = rng.choice(others)[at:]
        else:
            out[at:at] = out[at : at + 64]
    return bytes(out)


def hostile_message(rng: random.Random, message: Message, all_messages: Sequence[Message]) -> tuple[bytes, bool]:
    """Bytes in place of a message, and whether their frame is whole, so that an answer may come."""
    kind = rng.randrange(10)
    if kind < 7:
        body = altered(rng, message.body, [other.body for other in all_messages])
        # The call number is in the body too; p11-kit compares nothing but that.
        return Message(message.call, message.options, body).encoded(), True
    if kind == 7:
        return HEADER.pack(message.call, rng.choice(_LENGTHS), rng.choice(_LENGTHS)) + message.body, False
    if kind == 8:
        return altered(rng, message.encoded(), [other.encoded() for other in all_messages]), False
    return rng.randbytes(rng.choice((1, 11, 12, 13, 100, 5_000))), False


def say(connection: socket.socket, data: bytes, *, slowly: bool) -> None:
    """All of it, or `slowly`: the first few hundred bytes one at a time."""
    drops = data[:_DROPS] if slowly else b""
    for at in range(len(drops)):
        connection.sendall(drops[at : at + 1])
    connection.sendall(data[len(drops) :])


def request_line(request: dict[str, Any]) -> bytes:
    return json.dumps(request).encode() + b"\n"


def hostile_line(rng: random.Random, request: Callable[[random.Random], dict[str, Any]]) -> bytes:
    """One line, or less or more than one, for a socket that takes `request`s as JSON."""
    kinds: tuple[Callable[[random.Random], bytes], ...] = (
        lambda rng: rng.randbytes(rng.choice((0, 1, 10, 1_000))) + b"\n",
        lambda rng: request_line(request(rng)),
        lambda rng: json.dumps(_value(rng, 4)).encode() + b"\n",
        lambda rng: altered(rng, json.dumps(request(rng)).encode(), [b"{}"]) + b"\n",
        lambda rng: json.dumps(request(rng)).encode()[: rng.randrange(60)],
        lambda rng: rng.choice((b"[", b'{"op":', b'{"a":[')) * rng.choice((10, 1_000, 9_000)) + b"\n",
        lambda rng: b'{"op":"commit","kind":"' + b"x" * rng.choice((60_000, 70_000)) + b'"}\n',
        lambda rng: b'{"op":' + b"9" * rng.choice((20, 5_000)) + b',"x":1e999,"y":NaN}\n',
    )
    # Deep and huge ones are slow to make; most inputs are requests that nearly are right.
    return rng.choices(kinds, (10, 40, 10, 20, 10, 3, 2, 5))[0](rng)


_SELF_SERVICE = (
    "policy",
    "quota",
    "objects",
    "restore_points",
    "handover",
    "invalidation",
    "export",
    "import_begin",
    "import_begin",
    "import_key",
    "import_object",
    "import_object",
    "import_discard",
    "status",
)
_OPERATIONS = (
    "commit",
    "status",
    "cluster_init",
    "partition_apply",
    "object_list",
    "snapshot",
    "restore_begin",
    "restore_apply",
    "restore_finish",
    "record_put",
)


def agent_request(rng: random.Random) -> dict[str, Any]:
    """For the agent: mostly a commit, as the module makes it, with a field or two that are not."""
    hint = {"class": 3, "key_type": 3, "label": "6162", "id": "01"}
    request: dict[str, Any] = {
        "op": "commit" if rng.random() < 0.7 else rng.choice(_OPERATIONS),
        "kind": rng.choice(("create", "update")),
        "objects": [dict(hint) for _ in range(rng.choice((0, 1, 2, 50)))],
        "partition": rng.choice(("acme", "globex", "system", "../acme")),
    }
    return _spoilt(rng, request)


def subscriber_request(rng: random.Random) -> dict[str, Any]:
    """For a partition's self-service, as keyfold-subscriber makes it, with a field or two that are not."""
    label, modulus = base64.b64encode(b"fuzzed").decode(), base64.b64encode(rng.randbytes(384)).decode()
    request: dict[str, Any] = {
        "op": rng.choice(_SELF_SERVICE),
        # The right one is the key to most of what there is; a wrong one has to stay one.
        "pin": rng.choice(("user-pin-1", "user-pin-1", "user-pin-2")),
        "invalidated": rng.random() < 0.5,
        "keep": rng.random() < 0.5,
        "selection": {"labels": ["fuzzed"], "ids": ["01"], "classes": [rng.choice(("data", "secret", "private"))]},
        "modulus": modulus,
        "exponent": "AQAB",
        "skip_refused": rng.random() < 0.5,
        "objects": [{"class": "data", "label": label, "id": "AQ=="} for _ in range(rng.choice((0, 1, 3)))],
        # A new RSA key takes most of a second.
        "keys": rng.random() < 0.02,
        "check": rng.random() < 0.5,
        "kek": modulus,
        "object": {"class": "data", "attributes": {"CKA_LABEL": label, "CKA_VALUE": "AQID"}, "wrapped": "AQID"},
        "digest": base64.b64encode(rng.randbytes(32)).decode(),
    }
    return _spoilt(rng, request)


def _spoilt(rng: random.Random, request: dict[str, Any]) -> dict[str, Any]:
    """With none, one or two values replaced by nonsense, at the top or further in."""
    for _ in range(rng.choice((0, 1, 1, 2))):
        targets = [one for one in _mappings(request) if one]
        if targets:
            target = rng.choice(targets)
            target[rng.choice(list(target))] = _value(rng, 2)
    return request


def _mappings(value: Any) -> list[dict[str, Any]]:
    if isinstance(value, dict):
        return [value, *(one for inner in value.values() for one in _mappings(inner))]
    return [one for inner in value for one in _mappings(inner)] if isinstance(value, list) else []


def _value(rng: random.Random, depth: int) -> Any:
    plain = (None, True, 0, -1, 2**63, 2**64, 1.5, "", "commit", "\0", "\ud800", "zz", "../../etc", "6162", "a" * 300)
    if depth == 0 or rng.random() < 0.6:
        return rng.choice(plain)
    if rng.random() < 0.5:
        return [_value(rng, depth - 1) for _ in range(rng.randrange(4))]
    return {str(rng.choice(plain)): _value(rng, depth - 1) for _ in range(rng.randrange(4))}
