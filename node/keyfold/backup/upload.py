"""Bring a file into the store and believe it only when it was read back."""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Generic, Self, TypeVar

from keyfold.backup import manifest
from keyfold.backup.progress import Progress
from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote

S = TypeVar("S")
T = TypeVar("T")

_ATTEMPTS = 3
_PAUSE_SECONDS = 2.0


class Uploads(Generic[S, T]):
    """One upload after the other, beside whoever seals the next archive.

    `ended` has what `upload` made of each, in order. The first failure ends the `with` block, from `begin` or `ended`;
    what had not begun by then is not uploaded.
    """

    def __init__(self, upload: Callable[[S], T]) -> None:
        self._upload = upload
        self._pool = ThreadPoolExecutor(1, "upload")
        self._begun: list[Future[T]] = []

    def begin(self, one: S) -> None:
        for earlier in self._begun:
            if earlier.done():
                earlier.result()
        self._begun.append(self._pool.submit(self._upload, one))

    def ended(self) -> list[T]:
        with Progress("uploading", len(self._begun)) as bar:
            made = []
            for one in self._begun:
                made.append(one.result())
                bar.advance(1)
        return made

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._pool.shutdown(cancel_futures=True)


def upload_archive(remote: Remote, place: str, stem: str, file: Path, sha256: str, clock: Clock) -> str:
    """The name, inside the collection `place`, under which the file now is, verified.

    Every attempt has a random name of its own: what a broken attempt left behind is never taken for the archive.
    """

    def attempt() -> str:
        name = f"{stem}-{secrets.token_hex(8)}.age"
        length = file.stat().st_size
        with file.open("rb") as body:
            remote.put_new(f"{place}/{name}", body, length)
        _compare(remote, f"{place}/{name}", sha256)
        return name

    return _repeated(attempt, clock)


def publish_manifest(remote: Remote, place: str, document: Path, sha256: str, clock: Clock) -> None:
    """Store the manifest under its one name. An answer that got lost is settled by reading back."""
    name = f"{place}/{manifest.NAME}"

    def attempt() -> None:
        try:
            with document.open("rb") as body:
                remote.put_new(name, body, document.stat().st_size)
        except KeyfoldError as error:
            # `conflict`: an earlier attempt arrived after all. Its content decides.
            if error.code != "conflict":
                raise
        _compare(remote, name, sha256)

    _repeated(attempt, clock)


def _repeated(attempt: Callable[[], T], clock: Clock) -> T:
    for number in range(1, _ATTEMPTS):
        try:
            return attempt()
        except KeyfoldError as error:
            if error.code != "store_error":
                raise
        clock.sleep(_PAUSE_SECONDS * number)
    return attempt()


def _compare(remote: Remote, name: str, sha256: str) -> None:
    digest = hashlib.sha256()
    with remote.get(name) as chunks:
        for chunk in chunks:
            digest.update(chunk)
    if digest.hexdigest() != sha256:
        raise KeyfoldError(
            "store_error",
            f"the store gives back something else than was sent as {name}",
            not_done="the backup set was not published",
            next_step="check the store's disk, then run: keyfold backup run",
        )
