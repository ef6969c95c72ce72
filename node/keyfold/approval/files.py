"""A request and its signatures as they lie on disk: `stop.yml`, `stop.yml.sig`, `stop.yml.ada.sig`."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from keyfold.approval.request import MAX_REQUEST_BYTES
from keyfold.approval.verify import MAX_SIGNATURE_BYTES
from keyfold.errors import KeyfoldError


def read_approval(request: Path, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """The socket form, with `<request>.sig` and `<request>.*.sig` beside it; KeyfoldError `invalid` names a file."""
    prefix = f"{request.name}."
    try:
        beside = sorted(path for path in request.parent.iterdir() if path.name.startswith(prefix))
    except OSError as error:
        raise _invalid(f"{request.parent} cannot be read: {error.strerror}") from error
    beside = [path for path in beside if path.name.endswith(".sig")]
    signatures = {path.resolve(): path for path in (*beside, *extra)}
    return {
        "request": base64.b64encode(_read(request, MAX_REQUEST_BYTES)).decode(),
        "signatures": [_read(path, MAX_SIGNATURE_BYTES).decode("ascii", "replace") for path in signatures.values()],
    }


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
