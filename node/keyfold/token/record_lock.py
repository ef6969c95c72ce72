"""SoftHSM's fcntl record locks on whole files, with a deadline."""

from __future__ import annotations

import errno
import fcntl
import time

from keyfold.errors import KeyfoldError

# SoftHSM holds a record lock for one read or write of a small file; longer means a stopped or hanging process.
TIMEOUT_SECONDS = 5.0
_PAUSE_SECONDS = 0.001


def lock_whole_file(descriptor: int, name: str, *, exclusive: bool) -> None:
    """Take the lock; it is dropped when *any* descriptor of the file in this process closes.

    `descriptor` must be open for writing for an exclusive lock. KeyfoldError(conflict) after TIMEOUT_SECONDS.
    """
    operation = (fcntl.LOCK_EX if exclusive else fcntl.LOCK_SH) | fcntl.LOCK_NB
    deadline = time.monotonic() + TIMEOUT_SECONDS
    while True:
        try:
            fcntl.lockf(descriptor, operation)
            return
        except OSError as error:
            if error.errno not in (errno.EACCES, errno.EAGAIN):
                raise
            if time.monotonic() >= deadline:
                raise KeyfoldError(
                    "conflict",
                    f"another process has kept {name} locked for {TIMEOUT_SECONDS:g} s",
                    not_done="the file was neither read nor written",
                    next_step="look for a stopped process of the partition: ps -o pid,stat,cmd -u kf-<partition>",
                ) from None
        time.sleep(_PAUSE_SECONDS)
