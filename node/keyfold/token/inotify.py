"""inotify(7) for token directories, straight through libc.

pyinotify needs asyncore, which Python 3.12 removed, and python3-inotify hands events out of a blocking generator;
a commit has to drain the whole queue without waiting.
"""

from __future__ import annotations

import ctypes
import os
import struct
from pathlib import Path

from keyfold.errors import KeyfoldError
from keyfold.token.watch import OVERFLOW, Change, Watch, is_object_file

# <linux/inotify.h>
_IN_CLOSE_WRITE = 0x0000_0008
_IN_MOVED_FROM = 0x0000_0040
_IN_MOVED_TO = 0x0000_0080
_IN_DELETE = 0x0000_0200
_IN_Q_OVERFLOW = 0x0000_4000
_IN_IGNORED = 0x0000_8000
_IN_ONLYDIR = 0x0100_0000
_IN_DONT_FOLLOW = 0x0200_0000
# SoftHSM writes in place and closes; `SoftHsmDirectory` renames new files in. IN_CREATE and IN_MODIFY would only tell
# of files that are not finished. IN_IGNORED comes by itself when the directory goes.
_MASK = _IN_CLOSE_WRITE | _IN_MOVED_FROM | _IN_MOVED_TO | _IN_DELETE | _IN_ONLYDIR | _IN_DONT_FOLLOW

_EVENT = struct.Struct("iIII")
_BUFFER_BYTES = 64 * 1024
_LIBC = ctypes.CDLL(None, use_errno=True)


class Inotify(Watch):
    """One inotify instance for all partitions."""

    def __init__(self) -> None:
        self._descriptor = _LIBC.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._descriptor < 0:
            raise _failure("inotify_init1")
        self._keys: dict[int, str] = {}
        self._watches: dict[str, int] = {}

    def add(self, path: Path, key: str) -> None:
        watch = _LIBC.inotify_add_watch(self._descriptor, os.fsencode(path), _MASK)
        if watch < 0:
            raise _failure(f"cannot watch {path}")
        if self._watches.get(key) != watch:
            self.remove(key)
        self._keys[watch] = key
        self._watches[key] = watch

    def remove(self, key: str) -> None:
        watch = self._watches.pop(key, None)
        if watch is not None:
            del self._keys[watch]
            # Fails when the directory is gone and the kernel has dropped the watch by itself: nothing to do then.
            _LIBC.inotify_rm_watch(self._descriptor, watch)

    def drain(self) -> set[Change]:
        changes: set[Change] = set()
        while True:
            try:
                buffer = os.read(self._descriptor, _BUFFER_BYTES)
            except BlockingIOError:
                return changes
            at = 0
            while at < len(buffer):
                watch, mask, _, length = _EVENT.unpack_from(buffer, at)
                at += _EVENT.size
                name = os.fsdecode(buffer[at : at + length].rstrip(b"\0"))
                at += length
                change = self._change(watch, mask, name)
                if change is not None:
                    changes.add(change)

    def fileno(self) -> int:
        return int(self._descriptor)

    def close(self) -> None:
        os.close(self._descriptor)

    def _change(self, watch: int, mask: int, name: str) -> Change | None:
        if mask & _IN_Q_OVERFLOW:
            return OVERFLOW
        key = self._keys.get(watch)
        if key is None:
            return None
        if mask & _IN_IGNORED:
            del self._keys[watch]
            del self._watches[key]
            return Change(key, "")
        return Change(key, name) if is_object_file(name) else None


def _failure(what: str) -> KeyfoldError:
    reason = os.strerror(ctypes.get_errno())
    return KeyfoldError(
        "internal",
        f"{what}: {reason}",
        not_done="changes in token directories will not be noticed",
        next_step="see the limits in /proc/sys/fs/inotify and whether the directory exists",
    )
