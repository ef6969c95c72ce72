"""A store in memory, the twin of WebDAV for tests, with the faults a real one has."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import BinaryIO

from keyfold.errors import KeyfoldError
from keyfold.remote import errors
from keyfold.remote.interface import CHUNK_BYTES, Entry, ExpirableRemote, Remote, check_name


@dataclass(frozen=True, slots=True)
class Fault:
    """What one call meets: `error` is raised; a put has stored its first `stored_bytes` by then (None: nothing)."""

    error: KeyfoldError
    stored_bytes: int | None = None


class MemoryRemote(Remote):
    """Keeps the interface's promises unless told to break one."""

    def __init__(self, now: Callable[[], datetime] = lambda: datetime.now(UTC)) -> None:
        self._now = now
        self._files: dict[str, tuple[bytes, datetime]] = {}
        self._collections: dict[str, datetime] = {"": now()}
        self._faults: list[tuple[str, str, Fault]] = []
        self.room: int | None = None

    # --- the interface ----------------------------------------------------------------------------------------

    def put_new(self, name: str, body: BinaryIO, length: int) -> None:
        check_name(name)
        self._need_parent(name)
        if name in self._files:
            raise errors.taken(name)
        fault = self._next_fault("put_new", name)
        if fault is not None:
            if fault.stored_bytes is not None:
                self._files[name] = (body.read(min(length, fault.stored_bytes)), self._now())
            raise fault.error
        content = body.read(length)
        if len(content) != length:
            raise errors.failed(f"the body of {name} ended after {len(content)} of {length} bytes")
        self._files[name] = (content, self._now())

    @contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        fault = self._next_fault("get", check_name(name))
        if fault is not None:
            raise fault.error
        if name not in self._files:
            raise errors.absent(name)
        content = self._files[name][0]
        yield (content[at : at + CHUNK_BYTES] for at in range(0, len(content), CHUNK_BYTES))

    def list(self, collection: str = "") -> tuple[Entry, ...]:
        fault = self._next_fault("list", collection)
        if fault is not None:
            raise fault.error
        inside = f"{collection}/" if collection else ""
        found = [
            Entry(path.removeprefix(inside), False, len(content), modified)
            for path, (content, modified) in self._files.items()
            if _parent(path) == collection
        ]
        found += [
            Entry(path.removeprefix(inside), True, 0, made)
            for path, made in self._collections.items()
            if path and _parent(path) == collection
        ]
        return tuple(sorted(found, key=lambda entry: entry.name))

    def make_collection(self, name: str) -> None:
        self._need_parent(check_name(name))
        fault = self._next_fault("make_collection", name)
        if fault is not None:
            raise fault.error
        self._collections.setdefault(name, self._now())

    def free_bytes(self) -> int | None:
        fault = self._next_fault("free_bytes", "")
        if fault is not None:
            raise fault.error
        return self.room

    def close(self) -> None:
        """Nothing to drop."""

    # --- what tests do to it ----------------------------------------------------------------------------------

    def fail_next(self, operation: str, fault: Fault, *, ending: str = "") -> None:
        """The next `operation` on a name that ends in `ending` meets the fault."""
        self._faults.append((operation, ending, fault))

    def alter(self, name: str, change: Callable[[bytes], bytes]) -> None:
        """Change stored bytes behind everybody's back."""
        content, modified = self._files[name]
        self._files[name] = (change(content), modified)

    def lose(self, name: str) -> None:
        """A stored file vanishes."""
        del self._files[name]

    def files(self) -> dict[str, bytes]:
        """Everything stored, by full name."""
        return {name: content for name, (content, _) in self._files.items()}

    # --- inside -----------------------------------------------------------------------------------------------

    def _need_parent(self, name: str) -> None:
        if _parent(name) not in self._collections:
            raise errors.absent(_parent(name))

    def _next_fault(self, operation: str, name: str) -> Fault | None:
        for at, (wanted, ending, fault) in enumerate(self._faults):
            if wanted == operation and name.endswith(ending):
                del self._faults[at]
                return fault
        return None


class MemoryExpirer(MemoryRemote, ExpirableRemote):
    """The twin of the expirer's way to the store."""

    def remove(self, name: str) -> None:
        fault = self._next_fault("remove", check_name(name))
        if fault is not None:
            raise fault.error
        for path in [path for path in self._files if path == name or path.startswith(f"{name}/")]:
            del self._files[path]
        for path in [path for path in self._collections if path == name or path.startswith(f"{name}/")]:
            del self._collections[path]


def _parent(name: str) -> str:
    return name.rpartition("/")[0]
