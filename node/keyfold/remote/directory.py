"""A mounted file system as a place for backups: an offline medium."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import BinaryIO

from keyfold.errors import KeyfoldError
from keyfold.remote import errors
from keyfold.remote.interface import CHUNK_BYTES, Entry, Remote, check_name, is_segment


class DirectoryRemote(Remote):
    """Everything below `root`. What was put is on the device when `put_new` returns."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def put_new(self, name: str, body: BinaryIO, length: int) -> None:
        path = self._path(name)
        with _os_errors(name):
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                left = length
                while left and (chunk := body.read(min(left, CHUNK_BYTES))):
                    file.write(chunk)
                    left -= len(chunk)
                if left:
                    raise errors.failed(f"the body of {name} ended after {length - left} of {length} bytes")
                file.flush()
                os.fsync(descriptor)
            _fsync(path.parent)

    @contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        with _os_errors(name):
            descriptor = os.open(self._path(name), os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
        with os.fdopen(descriptor, "rb") as file:
            yield _chunks(file, name)

    def list(self, collection: str = "") -> tuple[Entry, ...]:
        found = []
        with _os_errors(collection):
            try:
                entries = list(os.scandir(self._path(collection) if collection else self._root))
            except (FileNotFoundError, NotADirectoryError):
                return ()
            for entry in entries:
                # What cannot be a name is none of ours: lost+found.
                if is_segment(entry.name):
                    status = entry.stat(follow_symlinks=False)
                    inner = entry.is_dir(follow_symlinks=False)
                    modified = datetime.fromtimestamp(status.st_mtime, UTC)
                    found.append(Entry(entry.name, inner, 0 if inner else status.st_size, modified))
        return tuple(sorted(found, key=lambda entry: entry.name))

    def make_collection(self, name: str) -> None:
        path = self._path(name)
        with _os_errors(name):
            try:
                path.mkdir(0o700)
            except FileExistsError:
                return
            _fsync(path.parent)

    def free_bytes(self) -> int | None:
        with _os_errors(""):
            status = os.statvfs(self._root)
        return status.f_bavail * status.f_frsize

    def close(self) -> None:
        """Nothing to drop."""

    def _path(self, name: str) -> Path:
        return self._root / check_name(name)


def _chunks(file: BinaryIO, name: str) -> Iterator[bytes]:
    with _os_errors(name):
        while chunk := file.read(CHUNK_BYTES):
            yield chunk


def _fsync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def _os_errors(name: str) -> Iterator[None]:
    try:
        yield
    except FileExistsError:
        raise errors.taken(name) from None
    except (FileNotFoundError, NotADirectoryError):
        raise errors.absent(name) from None
    except OSError as error:
        raise _failed(name, error) from error


def _failed(name: str, error: OSError) -> KeyfoldError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        return errors.full(name)
    return errors.failed(f"the file system of {name} failed: {error.strerror}")
