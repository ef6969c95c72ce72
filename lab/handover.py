"""Open what a throw-away cluster handed over, as its subscriber would: with the key that lab/subscriber_key.sh made."""

from __future__ import annotations

import subprocess
from pathlib import Path

_KEY = "subscriber_key"


def subscriber_key(controller_directory: Path) -> str:
    """The public half, as an inventory declares it."""
    return (controller_directory / f"{_KEY}.pub").read_text(encoding="ascii").strip()


def user_pin(controller_directory: Path, partition: str) -> str:
    """The partition's first user PIN; CalledProcessError if age cannot open the file."""
    sealed = controller_directory / "handover" / f"{partition}.user.age"
    return opened(controller_directory, sealed.read_text(encoding="ascii"))


def opened(controller_directory: Path, sealed: str) -> str:
    command = ["age", "--decrypt", "--identity", str(controller_directory / _KEY)]
    return subprocess.run(command, input=sealed, capture_output=True, text=True, check=True).stdout.strip()
