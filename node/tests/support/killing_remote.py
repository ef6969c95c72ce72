"""A store in a directory that kills this very process (kill -9) at the Nth step of the calls made to it.

A step is what a real run can be interrupted at: before a call, in the middle of an upload, and after it.
"""

from __future__ import annotations

import os
import shutil
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from keyfold.remote import errors
from keyfold.remote.interface import CHUNK_BYTES, Entry, ExpirableRemote, check_name


class DirectoryRemote(ExpirableRemote):
    """`die_at`: the last step, counted from 1; 0 for never. Partial uploads stay visible: the worst case."""

    def __init__(self, root: Path, die_at: int = 0) -> None:
        self._root = root
        self._die_at = die_at
        self.steps = 0

    def _step(self) -> None:
        self.steps += 1
        if self.steps == self._die_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def put_new(self, name: str, body: BinaryIO, length: int) -> None:
        self._step()
        target = self._root / check_name(name)
        if target.exists():
            raise errors.taken(name)
        content = body.read(length)
        target.write_bytes(content[: length // 2])
        self._step()
        target.write_bytes(content)
        self._step()

    @contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        self._step()
        try:
            content = (self._root / check_name(name)).read_bytes()
        except FileNotFoundError:
            raise errors.absent(name) from None
        yield (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))

    def list(self, collection: str = "") -> tuple[Entry, ...]:
        self._step()
        try:
            return tuple(_entry(path) for path in sorted((self._root / collection).iterdir()))
        except FileNotFoundError:
            return ()

    def make_collection(self, name: str) -> None:
        self._step()
        (self._root / check_name(name)).mkdir(exist_ok=True)
        self._step()

    def remove(self, name: str) -> None:
        self._step()
        path = self._root / check_name(name)
        if path.is_dir():
            for member in sorted(path.iterdir()):
                member.unlink()
                self._step()
            shutil.rmtree(path)
        else:
            path.unlink(missing_ok=True)
        self._step()

    def free_bytes(self) -> int | None:
        return None

    def close(self) -> None:
        """Nothing to drop."""


def _entry(path: Path) -> Entry:
    status = path.stat()
    modified = datetime.fromtimestamp(status.st_mtime, UTC)
    return Entry(path.name, path.is_dir(), 0 if path.is_dir() else status.st_size, modified)


def killed(action: Callable[[], object]) -> bool:
    """Run it in a child; whether the child was killed (True) or came to its end (False)."""
    child = os.fork()
    if child == 0:
        try:
            action()
            os._exit(0)
        except BaseException:  # noqa: BLE001 - the child must never return into pytest
            traceback.print_exc()
            os._exit(1)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.WEXITSTATUS(status) == 0
    return False
