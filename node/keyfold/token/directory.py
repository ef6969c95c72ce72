"""One token directory of one partition: the contract the agent relies on."""

from __future__ import annotations

from abc import ABC, abstractmethod
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class FileStat:
    """What tells cheaply that a file changed: size in bytes, modification time in ns, inode."""

    size: int
    mtime_ns: int
    inode: int


class TokenDirectory(ABC):
    """The `*.object` files of one SoftHSM token (token.object included) and its generation counter.

    Callers hold one lock per partition around every method (an asyncio or threading lock of their own):
    POSIX record locks belong to the process and are dropped as soon as *any* descriptor of that file closes, so two
    threads on one file would undo each other's lock.

    Every method raises KeyfoldError(disk) when the disk is full or fails; what was there before stays.
    """

    @abstractmethod
    def create(self) -> None:
        """Make the empty directory, owned by the partition; fine if it is there."""

    @abstractmethod
    def batch(self) -> AbstractContextManager[None]:
        """Calls inside the block go to the directory that was there at its beginning, which spares finding it anew."""

    @abstractmethod
    def files(self) -> dict[str, FileStat]:
        """Every object file by name; empty if the directory is not there."""

    @abstractmethod
    def exists(self, name: str) -> bool:
        """Whether there is a file of this name, torn or not."""

    @abstractmethod
    def read(self, name: str) -> bytes | None:
        """The whole file, or None if it is absent.

        A file that SoftHSM is just writing is read again for up to 200 ms; TornFile if it stays torn.
        """

    @abstractmethod
    def write(self, name: str, data: bytes, *, durable: bool = True) -> None:
        """Make the file's content `data`, under a local generation that running processes notice.

        A new file appears whole and already owned by the partition. An existing one is rewritten in place under
        SoftHSM's own locks; a crash in the middle leaves a torn file, which `read` reports. With `durable` it is on
        disk afterwards; without, after the next `sync`. TornFile if `data` is not a whole object: nothing is written.
        """

    @abstractmethod
    def remove(self, name: str) -> bool:
        """Remove the object and its lock file; False if the object was not there."""

    @abstractmethod
    def generation(self) -> int:
        """The token's generation; 0 if there is none yet."""

    @abstractmethod
    def bump(self) -> int:
        """Move the token's generation, so that running processes list the directory again; returns the new one.

        Needed after objects appeared or vanished; one bump after a whole batch is enough. A changed object is noticed
        without any. Two traps of SoftHSM 2.6.1, both measured:

        - A process that creates an object moves the counter on and takes the result for its own, without looking
          whether somebody moved it before: it overlooks every batch since it last searched or used a key. So bump
          after a local create, however long after the batch; one bump after a burst of them is enough.
        - A process that destroyed an object itself overlooks a file of that name that comes back, unless it listed the
          directory in between. So bump after a local destroy, too.
        """

    @abstractmethod
    def sync(self) -> None:
        """Bring everything written without `durable` to disk."""

    @abstractmethod
    def quarantine(self, name: str, into: Path) -> Path | None:
        """Keep a copy of the file's bytes, torn or not, in the directory `into`; its path, or None if absent.

        The copy is named `<time>-<name>`; a copy is never overwritten.
        """
