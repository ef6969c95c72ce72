"""The export bundle: what age seals (docs/formats.md, export bundle)."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import from_json

FORMAT = "keyfold-export/1"
_KEK_BYTES = 32


@dataclass(frozen=True, slots=True)
class Bundle:
    """`kek`: the AES-256 key under which private and secret keys are wrapped (RFC 5649); None if there are none."""

    partition: str
    created: str
    objects: Sequence[Mapping[str, Any]] = field(repr=False)
    kek: bytes | None = field(default=None, repr=False)

    def encode(self) -> bytes:
        document = {
            "format": FORMAT,
            "partition": self.partition,
            "created": self.created,
            "kek": None if self.kek is None else base64.b64encode(self.kek).decode(),
            "objects": list(self.objects),
        }
        return json.dumps(document, indent=1).encode() + b"\n"


def decode(plain: bytes) -> Bundle:
    """KeyfoldError `refused` names the first thing that is not as it should be."""
    try:
        raw = json.loads(plain)
        return _checked(raw)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        reason = (
            str(error) if isinstance(error, ValueError) and not isinstance(error, UnicodeError) else "it is not whole"
        )
        raise KeyfoldError(
            "refused",
            f"the file holds no export of keyfold-subscriber: {reason}",
            not_done="nothing was imported",
            next_step="use a file that keyfold-subscriber export made",
        ) from None


def _checked(raw: Any) -> Bundle:
    if raw["format"] != FORMAT:
        raise ValueError(f"its format is not {FORMAT}")
    kek = None if raw["kek"] is None else base64.b64decode(raw["kek"], validate=True)
    if kek is not None and len(kek) != _KEK_BYTES:
        raise ValueError("its key-encryption key has the wrong length")
    for row in raw["objects"]:
        from_json(row["class"], row["attributes"])
        if row["class"] in ("private", "secret"):
            from_json(row["class"], row["proof"])
            if not _is_base64(row["wrapped"]) or kek is None:
                raise ValueError("a key in it cannot be unwrapped")
    return Bundle(str(raw["partition"]), str(raw["created"]), raw["objects"], kek)


def _is_base64(text: object) -> bool:
    try:
        return isinstance(text, str) and bool(base64.b64decode(text, validate=True))
    except (binascii.Error, ValueError):
        return False
