"""Ask the officers of a throw-away cluster and have them sign, as docs/approvals.md has it done by hand."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

OFFICERS = ("ada", "grace")


def approve(controller_directory: Path, name: str, request: Mapping[str, Any]) -> Path:
    """Write `approvals/<name>.yml` (JSON is YAML; it expires in an hour) and two officers' signatures beside it."""
    directory = controller_directory / "approvals"
    directory.mkdir(mode=0o700, exist_ok=True)
    path = directory / f"{name}.yml"
    expires = (datetime.now(UTC) + timedelta(hours=1)).strftime("%Y-%m-%dT%H:%M:%SZ")
    path.write_text(json.dumps({**request, "expires": expires}, indent=1), encoding="utf-8")
    for officer in OFFICERS:
        signature = path.with_name(f"{path.name}.{officer}.sig")
        signature.write_text(sign(controller_directory, officer, path.read_bytes()), encoding="ascii")
    return path


def sign(controller_directory: Path, officer: str, document: bytes) -> str:
    """The officer's signature, armored, of exactly these bytes."""
    key = controller_directory / "officers" / officer
    command = ["ssh-keygen", "-q", "-Y", "sign", "-n", "keyfold-approval", "-f", str(key)]
    return subprocess.run(command, input=document, capture_output=True, check=True).stdout.decode("ascii")
