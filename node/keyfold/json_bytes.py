"""JSON as Keyfold stores it and agents speak it (docs/formats.md, docs/interfaces.md): ASCII, without blanks."""

from __future__ import annotations

import json
from typing import Any


def compact(value: Any) -> bytes:
    """For what is only read again: keys in the order in which they are."""
    return json.dumps(value, separators=(",", ":")).encode()


def canonical(value: Any) -> bytes:
    """In one form only, for what is signed, hashed or compared: keys sorted; ValueError for NaN and infinity."""
    return json.dumps(value, separators=(",", ":"), sort_keys=True, allow_nan=False).encode()
