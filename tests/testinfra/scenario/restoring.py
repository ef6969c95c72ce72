"""Restores as operators ask for them and officers sign them, with the throw-away officers' keys."""

from __future__ import annotations

import base64
import json
from typing import Any

from lab.officers import sign
from scenario.cluster import Cluster, keyfold
from scenario.machines import controller_directory

ABOUT = ("--ticket", "REQ-0", "--reason", "a test", "--requested-by", "molecule")


def draft(cluster: Cluster, *arguments: str) -> str:
    """The request's text, as the backup site's node writes it."""
    return str(keyfold(cluster.node("hsm3"), "restore", "request", *ABOUT, *arguments)["request"])


def signed(text: str, *officers: str) -> dict[str, Any]:
    """The approval, as the command takes it over standard input."""
    raw = text.encode()
    signatures = [sign(controller_directory(), name, raw) for name in officers]
    return {"request": base64.b64encode(raw).decode(), "signatures": signatures}


def apply(cluster: Cluster, approval: dict[str, Any]) -> dict[str, Any]:
    given = json.dumps({"approval": approval})
    return keyfold(cluster.node("hsm3"), "restore", "apply", "--request", "-", stdin=given)
