"""Open what a throw-away cluster handed over, as its subscriber would: with the key that lab/subscriber_key.sh made."""

from __future__ import annotations

import subprocess
from pathlib import Path


def user_pin(controller_directory: Path, partition: str) -> str:
    """The partition's first user PIN; CalledProcessError if age cannot open the file."""
    sealed = controller_directory / "handover" / f"{partition}.user.age"
    command = ["age", "--decrypt", "--identity", str(controller_directory / "subscriber_key"), str(sealed)]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
