"""Restores as operators ask for them and officers sign them, with the throw-away officers' keys."""

from __future__ import annotations

import base64
import json
import os
import subprocess
from typing import Any

from scenario.cluster import Cluster, keyfold
from scenario.machines import ROOT

ABOUT = ("--ticket", "REQ-0", "--reason", "a test", "--requested-by", "molecule")


def draft(cluster: Cluster, *arguments: str) -> str:
    """The request's text, as the backup site's node writes it."""
    return str(keyfold(cluster.node("hsm3"), "restore", "request", *ABOUT, *arguments)["request"])


def signed(text: str, *officers: str) -> dict[str, Any]:
    """The approval, as the command takes it over standard input."""
    home = ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"] / "officers"
    signatures = [
        subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", "keyfold-approval", "-f", str(home / name)],
            input=text.encode(),
            capture_output=True,
            check=True,
        ).stdout.decode()
        for name in officers
    ]
    return {"request": base64.b64encode(text.encode()).decode(), "signatures": signatures}


def apply(cluster: Cluster, approval: dict[str, Any]) -> dict[str, Any]:
    given = json.dumps({"approval": approval})
    return keyfold(cluster.node("hsm3"), "restore", "apply", "--request", "-", stdin=given)
