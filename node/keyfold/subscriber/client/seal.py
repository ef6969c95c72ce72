"""Seal to, and open with, the subscriber's own age or SSH key: the stock `age`, everything over pipes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from keyfold.errors import KeyfoldError

# age asks for an SSH key's passphrase on the terminal; nobody is hurried.
_SECONDS = 600.0


def seal(plain: bytes, recipients: Sequence[str], target: Path) -> None:
    """Write `target` whole or not at all. `recipients`: age1…, SSH public keys, or files of them."""
    options = []
    for recipient in recipients:
        options += ["-R" if Path(recipient).is_file() else "-r", recipient]
    sealed = _age(["--armor", *options], plain, "correct --to: an age recipient, an SSH public key, or a file with one")
    draft = target.with_name(f".{target.name}.{os.getpid()}")
    try:
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(sealed)
            file.flush()
            os.fsync(descriptor)
        # Never over another file: it may be the only copy of an earlier export.
        os.link(draft, target)
    except OSError as error:
        code = "conflict" if isinstance(error, FileExistsError) else "disk"
        raise KeyfoldError(
            code,
            f"{target} cannot be written: {error.strerror}",
            not_done="the export was not kept",
            next_step="name another file",
        ) from None
    finally:
        draft.unlink(missing_ok=True)


def unseal(source: Path, identity: Path) -> bytes:
    """KeyfoldError `refused` if the file is not sealed to that key, or was altered; `not_found` if one is missing."""
    for path in (source, identity):
        if not path.is_file():
            raise KeyfoldError(
                "not_found", f"there is no file {path}", not_done="nothing was opened", next_step="name one that exists"
            )
    return _age(
        ["--decrypt", "--identity", str(identity), str(source)],
        b"",
        "use the key that it was sealed to: --identity FILE",
    )


def _age(options: Sequence[str], given: bytes, next_step: str) -> bytes:
    try:
        done = subprocess.run(["age", *options], input=given, capture_output=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise KeyfoldError(
            "internal",
            f"age does not run: {type(error).__name__}",
            not_done="nothing was sealed or opened",
            next_step="apt-get install age",
        ) from None
    if done.returncode != 0:
        lines = done.stderr.decode("utf-8", "replace").strip().splitlines() or ["it gave no reason"]
        raise KeyfoldError("refused", lines[0], not_done="nothing was sealed or opened", next_step=next_step)
    return done.stdout
