"""Officers' approvals on their way to a node: files on the controller → an option of a module → standard input.

The lookup plugin `keyfold_approval` reads the files; a module that needs an approval has the option `approval` with
APPROVAL_OPTION as its specification and hands it on with `with_approval`. What counts is decided on the node.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

# Not secret, and a reader of the log should see who signed.
APPROVAL_OPTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        "request": {"type": "str", "required": True},
        "signatures": {"type": "list", "elements": "str", "required": True},
    },
}

# As the node's own limits; what is larger is no request and no signature.
_REQUEST_BYTES = 256 * 1024
_SIGNATURE_BYTES = 16 * 1024


class ApprovalFileError(Exception):
    """A file of an approval cannot be read; the message names it."""


def read_approval(request: Path, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """`{"request", "signatures"}` of the file and of every `<request>.sig` and `<request>.*.sig` beside it."""
    prefix = f"{request.name}."
    try:
        beside = sorted(path for path in request.parent.iterdir() if path.name.startswith(prefix))
    except OSError as error:
        raise ApprovalFileError(f"{request.parent} cannot be read: {error.strerror}") from error
    signatures = {path.resolve(): None for path in (*beside, *extra) if path in extra or path.name.endswith(".sig")}
    return {
        "request": base64.b64encode(_read(request, _REQUEST_BYTES)).decode(),
        "signatures": [_read(path, _SIGNATURE_BYTES).decode("ascii", "replace") for path in signatures],
    }


def with_approval(secrets: Mapping[str, Any], approval: Mapping[str, Any] | None) -> dict[str, Any]:
    """What goes to the node's command over standard input, with the approval if one was given."""
    return {**secrets, **({"approval": dict(approval)} if approval else {})}


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ApprovalFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise ApprovalFileError(f"{path} is longer than {limit} bytes")
    return content
