"""Where archives lie while they are under way: `/var/lib/keyfold/spool`, root only."""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from keyfold.errors import KeyfoldError

_RUN_PREFIX = "run-"


def disk_error(path: Path, error: OSError) -> KeyfoldError:
    """What the local disk did, as a KeyfoldError."""
    reason = "is full" if error.errno in (errno.ENOSPC, errno.EDQUOT) else f"failed: {error.strerror}"
    return KeyfoldError(
        "disk",
        f"this node's disk {reason} at {path}",
        not_done="no backup set was published and nothing was restored",
        next_step=f"free space (df -h {path}), then run the command again",
    )


@contextmanager
def backup_run(spool: Path) -> Iterator[Path]:
    """An empty directory for one backup run, which no other run on this node can overlap.

    KeyfoldError `conflict` while another run is under way; `disk` for an OSError in the block. What a killed run left
    behind is removed first.
    """
    with _disk_errors(spool), _locked(spool):
        for leftover in spool.glob(f"{_RUN_PREFIX}*"):
            shutil.rmtree(leftover)
        directory = Path(tempfile.mkdtemp(dir=spool, prefix=_RUN_PREFIX))
        try:
            yield directory
        finally:
            shutil.rmtree(directory)


@contextmanager
def scratch_file(spool: Path) -> Iterator[BinaryIO]:
    """A file without a name: nothing of it is left, however this process ends.

    KeyfoldError `disk` for an OSError in the block.
    """
    with _disk_errors(spool):
        spool.mkdir(mode=0o700, exist_ok=True)
        with tempfile.TemporaryFile(dir=spool) as file:
            yield file


@contextmanager
def _disk_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise disk_error(path, error) from error


@contextmanager
def _locked(spool: Path) -> Iterator[None]:
    spool.mkdir(mode=0o700, exist_ok=True)
    lock = os.open(spool / "backup.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
    except BlockingIOError as error:
        raise KeyfoldError(
            "conflict",
            "another backup run is under way on this node",
            not_done="this run was not started",
            next_step="wait for it (systemctl status keyfold-backup), then: keyfold backup list",
        ) from error
    finally:
        os.close(lock)
