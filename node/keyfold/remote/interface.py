"""What Keyfold asks of a remote place for backups, and what it may rely on.

Guarantees, held by the contract suite on every implementation:

- `put_new` never replaces anything: a name that is taken raises `conflict` and what was there stays. When it
  returned, the whole body is readable under the name. When it raised anything else, nothing, a part or all of the
  body may be there: names are therefore unique and are read back before they count.
- `get` delivers the bytes as they are, or raises: a body that ends early is an error, never a short read.
- `list` names what is directly inside a collection; one that does not exist has no entries.
- Nothing is ever deleted or overwritten through `Remote`; only the store's own expirer has an `ExpirableRemote`.

Names are relative to the store's root, segments joined by `/`, each of `[A-Za-z0-9._-]` and not starting with a dot.
Every method raises KeyfoldError: `store_error` (no answer in time, full, or an error), `certificate` (TLS failed, or
the store does not let this identity do that), `not_found`, `conflict`.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import BinaryIO, Self

CHUNK_BYTES = 1 << 18

_SEGMENT = re.compile(r"[A-Za-z0-9_-][A-Za-z0-9._-]{0,254}")


def is_segment(text: str) -> bool:
    """Whether `text` can be one segment of a name."""
    return _SEGMENT.fullmatch(text) is not None


def check_name(name: str) -> str:
    """The name itself; ValueError if it could point anywhere but inside the store."""
    if not all(is_segment(segment) for segment in name.split("/")):
        raise ValueError(f"not a name in a store: {name!r}")
    return name


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of a collection. `size` in bytes (0 for a collection); `modified` by the store's clock, UTC."""

    name: str
    collection: bool
    size: int
    modified: datetime


class Remote(ABC):
    """The contract is this module's docstring."""

    @abstractmethod
    def put_new(self, name: str, body: BinaryIO, length: int) -> None:
        """Store `length` bytes read from `body` under a name that must be free, in a collection that must exist."""

    @abstractmethod
    def get(self, name: str) -> AbstractContextManager[Iterator[bytes]]:
        """The content as an iterator of chunks, each at most CHUNK_BYTES, valid inside the `with` block."""

    @abstractmethod
    def list(self, collection: str = "") -> tuple[Entry, ...]:
        """The members of a collection ("" is the store's root), ordered by name."""

    @abstractmethod
    def make_collection(self, name: str) -> None:
        """Make a collection; fine if it is there. `not_found` if the one around it is not."""

    @abstractmethod
    def free_bytes(self) -> int | None:
        """How much room the store says it has (RFC 4331 §3); None where it answers and does not say."""

    @abstractmethod
    def close(self) -> None:
        """Drop connections; safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class ExpirableRemote(Remote):
    """What the expirer has besides: `remove`. No other identity may."""

    @abstractmethod
    def remove(self, name: str) -> None:
        """Remove a file, or a collection with everything in it (RFC 4918 §9.6.1); fine if it is not there.

        When it raised, a collection may have lost some of its members.
        """
