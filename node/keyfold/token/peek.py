"""Read object files as they lie there, without SoftHSM's locks: several times faster than `SoftHsmDirectory.read`.

What comes may be torn, or another file's in place of a link that a partition's user put there: only for whoever knows
the identity that the object must have, and checks it.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

_READ = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_AT_ONCE_BYTES = 1 << 16

Peek = Callable[[str], bytes | None]


@contextmanager
def peeking(path: Path) -> Iterator[Peek]:
    """How to read a file of the token directory at `path` by its name; None where it cannot be read, for any reason."""
    try:
        directory = os.open(path, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        yield lambda _name: None
        return

    def peek(name: str) -> bytes | None:
        try:
            descriptor = os.open(name, _READ, dir_fd=directory)
        except OSError:
            return None
        try:
            data = os.read(descriptor, _AT_ONCE_BYTES)
            # An object is rarely larger.
            while len(data) % _AT_ONCE_BYTES == 0 and (more := os.read(descriptor, _AT_ONCE_BYTES)):
                data += more
            return data
        except OSError:
            return None
        finally:
            os.close(descriptor)

    try:
        yield peek
    finally:
        os.close(directory)
