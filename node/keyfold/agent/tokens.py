"""Make the tokens of new partitions, many at a time, in a scratch directory."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyfold.agent.handover import Pins
from keyfold.custody.create import NewToken, create_partition_tokens

# SoftHSM looks at all tokens of a directory whenever it makes one more.
_TOKENS_PER_PROCESS = 50


@dataclass(frozen=True, slots=True)
class Token:
    """A token's directory name and its object files' content."""

    uuid: str
    files: Mapping[str, bytes]


def make_tokens(pins: Mapping[str, Pins], state: Path) -> dict[str, Token]:
    """Token by partition. Nothing stays on the disk; errors of `custody.create`."""
    made: dict[str, Token] = {}
    new = [NewToken(name, one.so, one.user) for name, one in pins.items()]
    for start in range(0, len(new), _TOKENS_PER_PROCESS):
        wanted = new[start : start + _TOKENS_PER_PROCESS]
        scratch = Path(tempfile.mkdtemp(dir=state / "agent", prefix="new-"))
        try:
            for label, directory in create_partition_tokens(scratch, wanted).items():
                files = {path.name: path.read_bytes() for path in directory.glob("*.object")}
                made[label] = Token(directory.name, files)
        finally:
            shutil.rmtree(scratch)
    return made
