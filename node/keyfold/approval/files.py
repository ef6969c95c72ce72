"""A request and its signatures as they lie on disk: `stop.yml`, `stop.yml.ada.sig`, `stop.yml.sig`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyfold.approval.request import MAX_REQUEST_BYTES
from keyfold.approval.verify import MAX_SIGNATURE_BYTES
from keyfold.errors import KeyfoldError


def read_approval(request: Path, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """The socket form, with every `<request>*.sig*` beside it; KeyfoldError `invalid` names the file."""
    beside = sorted(path for path in request.parent.glob(_escaped(request.name)) if path.is_file())
    signatures = {path.resolve(): path for path in (*beside, *extra)}
    return {
        "request": base64.b64encode(_read(request, MAX_REQUEST_BYTES)).decode(),
        "signatures": [_read(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace") for path in signatures.values()],
    }


def _escaped(name: str) -> str:
    return "".join(f"[{character}]" if character in "*?[" else character for character in name) + ".*sig*"


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise _invalid(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise _invalid(f"{path} is longer than {limit} bytes")
    return content


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="nothing was approved or changed", next_step="see docs/approvals.md")
