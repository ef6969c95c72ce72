"""Encrypt and decrypt streams with the stock `age` command and its plugin; never more than a pipe's worth in memory."""

from __future__ import annotations

import fcntl
import hashlib
import subprocess
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import IO, BinaryIO, Self

from keyfold.backup.age_plugin import FOREIGN
from keyfold.backup.spool import disk_error
from keyfold.errors import KeyfoldError

_CHUNK_BYTES = 1 << 18
_PIPE_BYTES = 1 << 20
_REASON_BYTES = 2000


class Encryption:
    """A file being encrypted to `recipient`: write the plain text inside the `with` block.

    Afterwards `size` (bytes) and `sha256` (hex) describe the ciphertext as age emitted it. KeyfoldError `disk` when
    `target` cannot be written, `internal` when age fails.
    """

    def __init__(self, recipient: str, target: Path) -> None:
        self._recipient = recipient
        self._target = target
        self._hash = hashlib.sha256()
        self._failed_write: OSError | None = None
        self.size = 0

    @property
    def sha256(self) -> str:
        return self._hash.hexdigest()

    def __enter__(self) -> Self:
        self._complaints = tempfile.TemporaryFile()
        self._process = _start(["-r", self._recipient], subprocess.PIPE, self._complaints)
        self._pump = threading.Thread(target=self._collect, name="age-ciphertext", daemon=True)
        self._pump.start()
        return self

    def write(self, data: bytes) -> None:
        try:
            _pipe(self._process.stdin).write(data)
        except BrokenPipeError:
            raise self._failure() from None

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._complaints:
            if error is not None:
                self._stop()
                return
            try:
                _pipe(self._process.stdin).close()
            except BrokenPipeError:
                raise self._failure() from None
            self._pump.join()
            if self._process.wait() != 0 or self._failed_write is not None:
                raise self._failure()

    def _collect(self) -> None:
        with _pipe(self._process.stdout) as ciphertext:
            try:
                with self._target.open("wb") as file:
                    while chunk := ciphertext.read(_CHUNK_BYTES):
                        file.write(chunk)
                        self._hash.update(chunk)
                        self.size += len(chunk)
            except OSError as error:
                # Closing the pipe ends age, and with it the writer's side.
                self._failed_write = error

    def _stop(self) -> None:
        self._process.kill()
        self._process.wait()
        self._pump.join()
        with suppress(BrokenPipeError):
            _pipe(self._process.stdin).close()

    def _failure(self) -> KeyfoldError:
        self._stop()
        if self._failed_write is not None:
            return disk_error(self._target, self._failed_write)
        return KeyfoldError(
            "internal",
            f"age could not encrypt to {self._recipient}: {_last_words(self._complaints)}",
            not_done="no backup set was published",
            next_step="check that age and age-plugin-keyfold are installed (apt-get install --reinstall keyfold-node)",
        )


class _Plain:
    """The plain text, and whether its end was seen."""

    def __init__(self, stream: IO[bytes]) -> None:
        self._stream = stream
        self.ended = False

    def read(self, size: int) -> bytes:
        data = self._stream.read(size)
        self.ended = self.ended or len(data) < size
        return data


@contextmanager
def decrypting(identity: str, ciphertext: BinaryIO) -> Iterator[_Plain]:
    """The plain text of a file, to be read to its end inside the block: only the end proves that nothing is missing.

    KeyfoldError `refused` on leaving the block if the file was altered, cut short or made for another cluster,
    whatever the block itself made of the beginning.
    """
    ciphertext.seek(0)
    with tempfile.TemporaryFile() as complaints, tempfile.NamedTemporaryFile("w", suffix=".identity") as key:
        key.write(identity + "\n")
        key.flush()
        process = _start(["-d", "-i", key.name], ciphertext, complaints)
        plain = _Plain(_pipe(process.stdout))
        try:
            yield plain
        except BaseException as error:
            if isinstance(error, KeyfoldError) and plain.ended and process.wait() != 0:
                raise _refused(complaints) from error
            raise
        else:
            while plain.read(_CHUNK_BYTES):
                pass
            if process.wait() != 0:
                raise _refused(complaints)
        finally:
            _pipe(process.stdout).close()
            process.kill()
            process.wait()


def _start(options: list[str], stdin: int | BinaryIO, stderr: IO[bytes]) -> subprocess.Popen[bytes]:
    try:
        process = subprocess.Popen(
            ["age", *options], bufsize=_PIPE_BYTES, stdin=stdin, stdout=subprocess.PIPE, stderr=stderr
        )
    except FileNotFoundError as error:
        raise KeyfoldError(
            "not_found",
            "the command age is not installed",
            not_done="nothing was encrypted or decrypted",
            next_step="apt-get install age",
        ) from error
    for pipe in filter(None, (process.stdin, process.stdout)):
        # Fewer turns of two processes on one stream. A limit of the machine may forbid it.
        with suppress(OSError):
            fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE_BYTES)
    return process


def _pipe(stream: IO[bytes] | None) -> IO[bytes]:
    if stream is None:
        raise AssertionError("the process was started without this pipe")
    return stream


def _last_words(complaints: IO[bytes]) -> str:
    end = complaints.seek(0, 2)
    complaints.seek(max(0, end - _REASON_BYTES))
    lines = complaints.read().decode(errors="replace").splitlines()
    return "; ".join(line for line in lines if "report unexpected" not in line)


def _refused(complaints: IO[bytes]) -> KeyfoldError:
    reason = _last_words(complaints)
    if FOREIGN in reason:
        return KeyfoldError(
            "refused",
            FOREIGN,
            not_done="nothing was written",
            next_step="restore it on the cluster it was made on, or choose a set of this one: keyfold backup list",
        )
    return KeyfoldError(
        "refused",
        f"the archive was altered or cut short, or its key cannot be used: {reason}",
        not_done="nothing was written",
        next_step="keyfold backup verify; then restore from another set",
    )
