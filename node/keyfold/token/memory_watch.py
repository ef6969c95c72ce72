"""The watch's twin in memory: a test says what changed."""

from __future__ import annotations

import os
from pathlib import Path

from keyfold.token.watch import OVERFLOW, Change, Watch, is_object_file


class MemoryWatch(Watch):
    """`report` and `overflow` stand for the kernel."""

    def __init__(self) -> None:
        self._paths: dict[str, Path] = {}
        self._queue: set[Change] = set()
        self._descriptor = os.eventfd(0, os.EFD_NONBLOCK | os.EFD_CLOEXEC)

    def report(self, path: Path, name: str) -> None:
        """File `name` in the directory `path` changed."""
        for key, watched in self._paths.items():
            if watched == path and is_object_file(name):
                self._put(Change(key, name))

    def overflow(self) -> None:
        """The kernel dropped events."""
        self._put(OVERFLOW)

    def delete(self, path: Path) -> None:
        """The directory `path` is gone."""
        for key in [key for key, watched in self._paths.items() if watched == path]:
            del self._paths[key]
            self._put(Change(key, ""))

    def add(self, path: Path, key: str) -> None:
        self._paths[key] = path

    def remove(self, key: str) -> None:
        self._paths.pop(key, None)

    def drain(self) -> set[Change]:
        changes, self._queue = self._queue, set()
        if changes:
            os.eventfd_read(self._descriptor)
        return changes

    def fileno(self) -> int:
        return self._descriptor

    def close(self) -> None:
        os.close(self._descriptor)

    def _put(self, change: Change) -> None:
        self._queue.add(change)
        os.eventfd_write(self._descriptor, 1)
