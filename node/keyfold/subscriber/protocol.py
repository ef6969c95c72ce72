"""The lines between keyfold-subscriber and a node (docs/interfaces.md §8).

One JSON object per line, UTF-8, requests and replies in turn; replies have `ok` first, errors as on the agent's socket.
Which partition it is about is decided by the certificate: no request has a field for it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, Protocol

from keyfold.errors import KeyfoldError

# One object with its attributes in base64; etcd takes no object larger than 1.5 MB.
MAX_LINE_BYTES = 4 * 1024 * 1024

# What needs no PIN, and the agent's operation behind it.
PLAIN = {
    "policy": "subscriber_policy",
    "quota": "subscriber_quota",
    "objects": "subscriber_objects",
    "restore_points": "subscriber_restore_points",
    "handover": "subscriber_handover",
    "invalidation": "subscriber_invalidation",
}


def encode(message: Mapping[str, Any]) -> bytes:
    return json.dumps(message, separators=(",", ":")).encode() + b"\n"


class Lines(Protocol):
    def readline(self, size: int, /) -> bytes: ...


def read(stream: Lines) -> dict[str, Any] | None:
    """The next message; None at the end of the stream. KeyfoldError `invalid` for anything that is not one."""
    line = stream.readline(MAX_LINE_BYTES + 1)
    if not line:
        return None
    if not line.endswith(b"\n"):
        raise _invalid(f"a line is longer than {MAX_LINE_BYTES} bytes, or was cut short")
    try:
        message = json.loads(line)
    except (ValueError, RecursionError):
        message = None
    if not isinstance(message, dict):
        raise _invalid("a line is not one JSON object")
    return message


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid", what, not_done="nothing was read or changed", next_step="use the command keyfold-subscriber"
    )
