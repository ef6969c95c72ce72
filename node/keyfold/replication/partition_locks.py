"""A partition's two lock files (docs/interfaces.md §3), as the agent takes them."""

from __future__ import annotations

from contextlib import AbstractContextManager
from pathlib import Path

from keyfold.token.locks import flock


class PartitionLocks:
    """Each raises `LockBusy` after `timeout_seconds`; 0 does not wait."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def create(self, timeout_seconds: float) -> AbstractContextManager[None]:
        """Held by module calls that create objects."""
        return flock(self._directory / "create.lock", timeout_seconds=timeout_seconds)

    def update(self, timeout_seconds: float) -> AbstractContextManager[None]:
        """Held by module calls that change or destroy objects, or set a PIN."""
        return flock(self._directory / "update.lock", timeout_seconds=timeout_seconds)
