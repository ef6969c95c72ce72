"""The real token directory: SoftHSM 2.6's files under SoftHSM's own locks.

The agent works here as root in a directory that the partition's user owns. So nothing is opened through a symbolic
link: `tokens` and the token's directory are opened one after the other, and files relative to that descriptor.
"""

from __future__ import annotations

import ctypes
import os
import secrets
import stat
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from pathlib import Path

from keyfold.errors import KeyfoldError
from keyfold.token.directory import FileStat, TokenDirectory
from keyfold.token.object_file import TornFile, check, local_generation, with_generation
from keyfold.token.record_lock import lock_whole_file
from keyfold.token.watch import is_object_file

_GENERATION = "generation"
_OPEN = os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK
_TORN_PATIENCE_SECONDS = 0.2
_TORN_PAUSE_SECONDS = 0.002
_LIBC = ctypes.CDLL(None, use_errno=True)


class _Held(threading.local):
    """The descriptor of this thread's batch."""

    directory: int | None = None


class SoftHsmDirectory(TokenDirectory):
    """`path` is `<partition>/tokens/<token uuid>`; files made here belong to uid:gid, mode 0600."""

    def __init__(self, path: Path, uid: int, gid: int) -> None:
        self._path = path
        self._uid = uid
        self._gid = gid
        self._held = _Held()

    def create(self) -> None:
        with self._disk_errors("the token directory was not made"):
            for path in (self._path.parent, self._path):
                if not path.is_dir():
                    path.mkdir(mode=0o700)
                    os.chown(path, self._uid, self._gid, follow_symlinks=False)

    def files(self) -> dict[str, FileStat]:
        found: dict[str, FileStat] = {}
        with self._disk_errors("the directory was not listed"), self._opened() as directory:
            if directory is None:
                return found
            with os.scandir(directory) as entries:
                for entry in entries:
                    if is_object_file(entry.name) and entry.is_file(follow_symlinks=False):
                        status = _stat(directory, entry.name)
                        if status is not None:
                            found[entry.name] = FileStat(status.st_size, status.st_mtime_ns, status.st_ino)
        return found

    def exists(self, name: str) -> bool:
        with self._disk_errors("the directory was not searched"), self._opened() as directory:
            return directory is not None and _stat(directory, name) is not None

    def read(self, name: str) -> bytes | None:
        deadline = time.monotonic() + _TORN_PATIENCE_SECONDS
        while True:
            data = self._read_raw(name)
            if data is None:
                return None
            try:
                check(data)
                return data
            except TornFile:
                if time.monotonic() >= deadline:
                    raise
            # 2.6.1 gives its lock up before it flushes, so the lock does not tell when the file is whole.
            time.sleep(_TORN_PAUSE_SECONDS)

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        lock_name = _lock_name(name)
        check(data)
        with self._disk_errors(f"{name} was not written"), self._opened() as directory:
            if directory is None:
                raise FileNotFoundError(2, "no such token directory", str(self._path))
            if _stat(directory, name) is None:
                self._make_lock_file(directory, lock_name)
                self._place(directory, name, data, durable)
                return
            with self._locked(directory, lock_name, os.O_RDWR | os.O_CREAT):
                self._rewrite(directory, name, data, durable)

    def remove(self, name: str) -> bool:
        lock_name = _lock_name(name)
        with self._disk_errors(f"{name} was not removed"), self._opened() as directory:
            if directory is None:
                return False
            with self._locked_if_there(directory, lock_name):
                removed = _unlink(directory, name)
                _unlink(directory, lock_name)
            return removed

    def generation(self) -> int:
        raw = self._read_raw(_GENERATION)
        return int.from_bytes(raw, "big") if raw is not None and len(raw) == 8 else 0

    def bump(self) -> int:
        with self._disk_errors("running processes were not told"), self._opened() as directory:
            if directory is None:
                raise FileNotFoundError(2, "no such token directory", str(self._path))
            with self._locked(directory, _GENERATION, os.O_RDWR | os.O_CREAT) as descriptor:
                current = os.pread(descriptor, 8, 0)
                following = _after(int.from_bytes(current, "big") if len(current) == 8 else 0)
                os.pwrite(descriptor, following.to_bytes(8, "big"), 0)
                return following

    def sync(self) -> None:
        with self._disk_errors("what was written may be lost at a power cut"), self._opened() as directory:
            if directory is not None and _LIBC.syncfs(directory) != 0:
                raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def quarantine(self, name: str, into: Path) -> Path | None:
        data = self._read_raw(name)
        if data is None:
            return None
        with self._disk_errors(f"{name} was not copied to {into}"):
            into.mkdir(mode=0o700, parents=True, exist_ok=True)
            copy = into / f"{datetime.now(UTC):%Y%m%dT%H%M%S.%fZ}-{name}"
            descriptor = os.open(copy, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            with os.fdopen(descriptor, "wb") as file:
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            return copy

    def _make_lock_file(self, directory: int, lock_name: str) -> None:
        """SoftHSM fails to destroy an object that has none."""
        try:
            os.mknod(lock_name, 0o600 | stat.S_IFREG, dir_fd=directory)
        except FileExistsError:
            return
        os.chown(lock_name, self._uid, self._gid, dir_fd=directory, follow_symlinks=False)

    def _place(self, directory: int, name: str, data: bytes, durable: bool) -> None:
        """Make a new file that is never seen unfinished.

        A process that lists the directory while the file is not readable yet would leave the object out. The
        generation is random: a process that knew an earlier file of this name reloads only at a different one. It has
        no name until it is complete, so nothing is left of it by a crash, and ext4 makes such files several times
        faster than by a rename. inotify does not report it, which spares the agent to look again at its own work.
        """
        descriptor = os.open("..", os.O_WRONLY | os.O_TMPFILE | os.O_CLOEXEC, 0o600, dir_fd=directory)
        try:
            os.fchown(descriptor, self._uid, self._gid)
            _write_all(descriptor, with_generation(data, _fresh_generation()))
            if durable:
                os.fsync(descriptor)
            os.link(f"/proc/self/fd/{descriptor}", name, dst_dir_fd=directory, follow_symlinks=True)
        finally:
            os.close(descriptor)
        if durable:
            os.fsync(directory)

    def _rewrite(self, directory: int, name: str, data: bytes, durable: bool) -> None:
        """Change the file in place: a rename under a writer's feet would swallow the writer's update."""
        with self._locked(directory, name, os.O_RDWR) as descriptor:
            before = _read_all(descriptor)
            generation = local_generation(before)
            after = with_generation(data, _fresh_generation() if generation is None else _after(generation))
            if len(after) > len(before):
                _reserve(descriptor, len(before), len(after))
            try:
                _write_all(descriptor, after)
                os.ftruncate(descriptor, len(after))
                if durable:
                    os.fsync(descriptor)
            except OSError:
                os.ftruncate(descriptor, len(before))
                _write_all(descriptor, before)
                raise

    def _read_raw(self, name: str) -> bytes | None:
        with self._disk_errors(f"{name} was not read"), self._opened() as directory:
            if directory is None:
                return None
            try:
                with self._locked(directory, name, os.O_RDONLY) as descriptor:
                    return _read_all(descriptor)
            except FileNotFoundError:
                return None

    @contextmanager
    def batch(self) -> Iterator[None]:
        with ExitStack() as stack:
            with self._disk_errors("the directory was not opened"):
                self._held.directory = stack.enter_context(self._opened())
            try:
                yield
            finally:
                self._held.directory = None

    @contextmanager
    def _opened(self) -> Iterator[int | None]:
        if self._held.directory is not None:
            yield self._held.directory
            return
        try:
            parent = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | _OPEN)
        except FileNotFoundError:
            yield None
            return
        try:
            directory = os.open(self._path.name, os.O_RDONLY | os.O_DIRECTORY | _OPEN, dir_fd=parent)
        except FileNotFoundError:
            yield None
            return
        finally:
            os.close(parent)
        try:
            yield directory
        finally:
            os.close(directory)

    @contextmanager
    def _locked(self, directory: int, name: str, flags: int) -> Iterator[int]:
        """The file open and locked: for others' writers when opened to read, for everybody when opened to write."""
        descriptor = os.open(name, flags | _OPEN, 0o600, dir_fd=directory)
        try:
            status = os.fstat(descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise OSError(22, "not a regular file", name)
            if flags & os.O_CREAT and (status.st_uid, status.st_gid) != (self._uid, self._gid):
                os.fchown(descriptor, self._uid, self._gid)
            lock_whole_file(descriptor, str(self._path / name), exclusive=flags & os.O_RDWR != 0)
            yield descriptor
        finally:
            os.close(descriptor)

    @contextmanager
    def _locked_if_there(self, directory: int, name: str) -> Iterator[None]:
        if _stat(directory, name) is None:
            yield
            return
        with self._locked(directory, name, os.O_RDWR):
            yield

    @contextmanager
    def _disk_errors(self, not_done: str) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise KeyfoldError(
                "disk",
                f"{self._path}: {error.strerror or error}",
                not_done=not_done,
                next_step=f"look at the disk: df -h {self._path}; dmesg | tail",
            ) from error


def _lock_name(name: str) -> str:
    """token.object → token.lock, <uuid>.object → <uuid>.lock; ValueError for anything that is no object's name."""
    if not name.endswith(".object") or "/" in name or name.startswith("."):
        raise ValueError(f"not the name of an object file: {name!r}")
    return name.removesuffix(".object") + ".lock"


def _fresh_generation() -> int:
    return secrets.randbelow(2**62) + 1


def _after(generation: int) -> int:
    """SoftHSM's own step: zero stands for "never written"."""
    return (generation + 1) % 2**64 or 1


def _stat(directory: int, name: str) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return None


def _unlink(directory: int, name: str) -> bool:
    try:
        os.unlink(name, dir_fd=directory)
        return True
    except FileNotFoundError:
        return False


def _read_all(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    return os.pread(descriptor, size, 0)


def _reserve(descriptor: int, before: int, after: int) -> None:
    """Find the disk full before the old content is touched."""
    try:
        os.posix_fallocate(descriptor, 0, after)
    except OSError:
        os.ftruncate(descriptor, before)
        raise


def _write_all(descriptor: int, data: bytes) -> None:
    written = 0
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], written)
