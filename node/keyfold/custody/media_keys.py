"""Key pairs of offline media: made, or brought back after a rebuild, in a copy of the system token.

Random, not derived from the root: what is destroyed cannot be made again from the shares.
"""

from __future__ import annotations

import shutil
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from keyfold.custody.epochs import copied_token
from keyfold.custody.medium_copy import Sealed
from keyfold.custody.process import run_worker

_PREFIX = "medium-"


@dataclass(frozen=True)
class MadeKey:
    """`files`: the new object files by name; `point`: the public key, 65 bytes; `sealed`: the copy for backups."""

    files: Mapping[str, bytes]
    point: bytes
    sealed: Sealed


class MediaKeys(ABC):
    """`token_files`: the system token's object files as committed. KeyfoldError: denied (PIN), disk."""

    @abstractmethod
    def make(self, token_files: Mapping[str, bytes], pin: str, medium: str, seal_to: bytes) -> MadeKey:
        """A new random pair for this medium; `seal_to`: the backup key's point."""

    @abstractmethod
    def bring_back(
        self, token_files: Mapping[str, bytes], pin: str, medium: str, sealed: Mapping[str, str]
    ) -> Mapping[str, bytes] | None:
        """Its object files out of the sealed copy; None if the copy cannot be opened."""


class TokenMediaKeys(MediaKeys):
    """`place`: a directory of root's own in which copies of the token lie meanwhile."""

    def __init__(self, place: Path) -> None:
        self._place = place

    def clear(self) -> None:
        """Remove what a killed agent left: a destroyed key must not lie about in a copy of the token."""
        for leftover in self._place.glob(f"{_PREFIX}*"):
            shutil.rmtree(leftover, ignore_errors=True)

    def make(self, token_files: Mapping[str, bytes], pin: str, medium: str, seal_to: bytes) -> MadeKey:
        with copied_token(self._scratch(), token_files, pin) as (token, directory):
            reply = run_worker({**token, "op": "add_medium", "medium": medium, "seal_to": seal_to.hex()})
            return MadeKey(_added(directory, token_files), bytes.fromhex(reply["point"]), reply["sealed"])

    def bring_back(
        self, token_files: Mapping[str, bytes], pin: str, medium: str, sealed: Mapping[str, str]
    ) -> Mapping[str, bytes] | None:
        with copied_token(self._scratch(), token_files, pin) as (token, directory):
            reply = run_worker({**token, "op": "import_medium", "medium": medium, "sealed": dict(sealed)})
            return _added(directory, token_files) if reply["imported"] else None

    def _scratch(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._place, prefix=_PREFIX))


def _added(directory: Path, before: Mapping[str, bytes]) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in directory.glob("*.object") if path.name not in before}
