"""The partition's `create.lock` and `update.lock` (docs/interfaces.md §3), with deadlines.

The PKCS#11 module holds one of them around *SoftHSM call + commit*; the agent holds them while it changes files.
"""

from __future__ import annotations

import fcntl
import os
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path

from keyfold.errors import KeyfoldError

_FIRST_PAUSE_SECONDS = 0.0005
_LONGEST_PAUSE_SECONDS = 0.01


class Busy(KeyfoldError):
    """Somebody else held the lock for the whole time allowed."""

    def __init__(self, lock: str, timeout_seconds: float) -> None:
        super().__init__(
            "conflict",
            f"{lock} was held by another process for {timeout_seconds:g} s",
            not_done="the files it protects were not touched",
            next_step=f"see who holds it: fuser {lock}",
        )


class PartitionLocks(ABC):
    """The two locks of one partition. Not re-entrant; take `create` before `update`."""

    @abstractmethod
    def create(self, timeout_seconds: float) -> AbstractContextManager[None]:
        """Hold `create.lock`; raises Busy after `timeout_seconds` (0: do not wait)."""

    @abstractmethod
    def update(self, timeout_seconds: float) -> AbstractContextManager[None]:
        """Hold `update.lock`; raises Busy after `timeout_seconds` (0: do not wait)."""


class FilePartitionLocks(PartitionLocks):
    """flock(2) on the files in the partition's directory, shared with the PKCS#11 module."""

    def __init__(self, partition_dir: Path) -> None:
        self._directory = partition_dir

    def create(self, timeout_seconds: float) -> AbstractContextManager[None]:
        return _flock(self._directory / "create.lock", timeout_seconds)

    def update(self, timeout_seconds: float) -> AbstractContextManager[None]:
        return _flock(self._directory / "update.lock", timeout_seconds)


class MemoryPartitionLocks(PartitionLocks):
    """The twin for tests: the same promises within one process."""

    def __init__(self) -> None:
        self._create = threading.Lock()
        self._update = threading.Lock()

    def create(self, timeout_seconds: float) -> AbstractContextManager[None]:
        return _mutex(self._create, "create.lock", timeout_seconds)

    def update(self, timeout_seconds: float) -> AbstractContextManager[None]:
        return _mutex(self._update, "update.lock", timeout_seconds)


@contextmanager
def _mutex(lock: threading.Lock, name: str, timeout_seconds: float) -> Iterator[None]:
    if not lock.acquire(timeout=timeout_seconds):
        raise Busy(name, timeout_seconds)
    try:
        yield
    finally:
        lock.release()


@contextmanager
def _flock(path: Path, timeout_seconds: float) -> Iterator[None]:
    descriptor = _open_for_partition(path)
    try:
        _acquire(descriptor, path, timeout_seconds)
        yield
    finally:
        os.close(descriptor)


def _open_for_partition(path: Path) -> int:
    """Open the lock file; a missing one is made for the directory's owner, whose processes must be able to open it."""
    flags = os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_CLOEXEC
    descriptor = os.open(path, flags, 0o600)
    owner = path.parent.stat()
    if os.fstat(descriptor).st_uid != owner.st_uid:
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
    return descriptor


def _acquire(descriptor: int, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    pause = _FIRST_PAUSE_SECONDS
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise Busy(str(path), timeout_seconds) from None
        time.sleep(pause)
        pause = min(pause * 2, _LONGEST_PAUSE_SECONDS)
