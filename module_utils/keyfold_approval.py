"""Officers' approvals on their way to a node: files on the controller → an option of a module → standard input.

The lookup plugin `keyfold_approval` reads the files; a module that needs an approval has the option `approval` with
APPROVAL_OPTION as its specification and hands it on with `with_approval`. What counts is decided on the node.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

# Not secret, and a reader of the log should see who signed.
APPROVAL_OPTION: dict[str, Any] = {
    "type": "dict",
    "options": {
        "request": {"type": "str", "required": True},
        "signatures": {"type": "list", "elements": "str", "required": True},
    },
}


def with_approval(secrets: Mapping[str, Any], approval: Mapping[str, Any] | None) -> dict[str, Any]:
    """What goes to the node's command over standard input, with the approval if one was given."""
    return {**secrets, **({"approval": dict(approval)} if approval else {})}
