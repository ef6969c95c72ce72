"""Which object files changed: the contract the agent relies on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import NamedTuple


class Change(NamedTuple):
    """Something happened to object file `name` of the directory added under `key`.

    An empty `name` means that the directory itself is gone and no longer watched.
    """

    key: str
    name: str


# The kernel dropped events: every directory has to be compared. Keys are never empty.
OVERFLOW = Change("", "")


def is_object_file(name: str) -> bool:
    """Whether it can be SoftHSM's: a partition's user may leave files of any name, and these go to every node."""
    return name.endswith(".object") and not name.startswith(".") and name.isascii() and name.isprintable()


class Watch(ABC):
    """Changes of `*.object` files: written and closed, moved in or out, deleted. Lock files stay silent."""

    @abstractmethod
    def add(self, path: Path, key: str) -> None:
        """Watch the directory `path`; changes are reported under `key`. Adding a key again moves it."""

    @abstractmethod
    def remove(self, key: str) -> None:
        """Stop watching; fine if the key is unknown. Changes already queued may still be reported."""

    @abstractmethod
    def drain(self) -> set[Change]:
        """Everything queued up to now, without waiting; OVERFLOW among it if events were lost."""

    @abstractmethod
    def fileno(self) -> int:
        """A descriptor that is readable when `drain` has something."""

    @abstractmethod
    def close(self) -> None:
        """Give the descriptor back."""
