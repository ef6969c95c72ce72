"""The partition's `create.lock` and `update.lock` (docs/interfaces.md §3): flock(2) with a deadline."""

from __future__ import annotations

import fcntl
import os
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyfold.errors import KeyfoldError


class LockBusy(KeyfoldError):
    """Somebody else holds the lock."""

    def __init__(self, path: Path, timeout_seconds: float) -> None:
        super().__init__(
            "conflict",
            f"{path} was held by another process for {timeout_seconds:g} s",
            not_done="the files it protects were not touched",
            next_step=f"see who holds it: fuser {path}",
        )


@contextmanager
def flock(path: Path, *, timeout_seconds: float) -> Iterator[None]:
    """Hold the lock; raises LockBusy after `timeout_seconds` (0: do not wait).

    A lock file that is missing is made for the owner of its directory, so that the partition's own processes can open it.
    """
    descriptor = _open(path)
    try:
        _acquire(descriptor, path, timeout_seconds)
        yield
    finally:
        os.close(descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        owner = path.parent.stat()
        os.fchown(descriptor, owner.st_uid, owner.st_gid)
        return descriptor


def _acquire(descriptor: int, path: Path, timeout_seconds: float) -> None:
    deadline = time.monotonic() + timeout_seconds
    pause = 0.0005
    while True:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return
        except BlockingIOError:
            if time.monotonic() >= deadline:
                raise LockBusy(path, timeout_seconds) from None
        time.sleep(pause)
        pause = min(pause * 2, 0.01)
