"""The token directory's twin in memory, for tests of what is built on it."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from pathlib import Path

from keyfold.errors import KeyfoldError
from keyfold.token.directory import FileStat, TokenDirectory
from keyfold.token.object_file import local_generation, parse, with_generation


class MemoryDirectory(TokenDirectory):
    """A directory whose files, disk and other users a test controls.

    `put` stands for SoftHSM: it leaves any bytes, torn ones too. While `disk_full` is set nothing can be written.
    """

    def __init__(self) -> None:
        self.disk_full = False
        self._files: dict[str, bytes] = {}
        self._changes: dict[str, int] = {}
        self._clock = 0
        self._generation = 0
        self._created = False

    def put(self, name: str, data: bytes) -> None:
        """Leave these bytes as SoftHSM would, without any check."""
        self._clock += 1
        self._files[name] = data
        self._changes[name] = self._clock

    def wipe(self) -> None:
        """As `rm -rf` of the directory."""
        self._files.clear()
        self._generation = 0
        self._created = False

    def create(self) -> None:
        self._created = True
        self._check_disk("the token directory was not made")

    def batch(self) -> AbstractContextManager[None]:
        return nullcontext()

    def files(self) -> dict[str, FileStat]:
        return {name: FileStat(len(data), self._changes[name], inode=1) for name, data in self._files.items()}

    def exists(self, name: str) -> bool:
        return name in self._files

    def read(self, name: str) -> bytes | None:
        data = self._files.get(name)
        if data is not None:
            parse(data)
        return data

    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        parse(data)
        self._check_disk(f"{name} was not written")
        before = local_generation(self._files.get(name, b""))
        self.put(name, with_generation(data, (before or 0) + 1))

    def remove(self, name: str) -> bool:
        return self._files.pop(name, None) is not None

    def generation(self) -> int:
        return self._generation

    def bump(self) -> int:
        self._check_disk("running processes were not told")
        self._generation += 1
        return self._generation

    def sync(self) -> None:
        self._check_disk("what was written may be lost at a power cut")

    def quarantine(self, name: str, into: Path) -> Path | None:
        data = self._files.get(name)
        if data is None:
            return None
        into.mkdir(parents=True, exist_ok=True)
        copy = into / f"{self._clock:06d}-{len(list(into.iterdir())):06d}-{name}"
        copy.write_bytes(data)
        return copy

    def _check_disk(self, not_done: str) -> None:
        if self.disk_full or not self._created:
            raise KeyfoldError(
                "disk",
                "No space left on device" if self.disk_full else "no such token directory",
                not_done=not_done,
                next_step="look at the disk: df -h",
            )
