"""SoftHSM loaded into this process, for as long as a context lasts.

The library is process-wide and reads SOFTHSM2_CONF only when it is initialised, so a process works on one
configuration at a time. The long-running agent never loads it; it runs `keyfold.custody.worker`.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import PyKCS11

from keyfold.errors import KeyfoldError

LIBRARY = "/usr/lib/softhsm/libsofthsm2.so"
_in_use = threading.Lock()


@contextmanager
def softhsm(conf: Path) -> Iterator[Any]:
    """PyKCS11Lib of SoftHSM under the configuration file `conf`; use it under `pkcs11_errors`."""
    if not _in_use.acquire(blocking=False):
        raise KeyfoldError(
            "internal",
            "SoftHSM is already loaded in this process",
            not_done=f"the token under {conf} was not opened",
            next_step="close the other SystemKeys first",
        )
    try:
        library = PyKCS11.PyKCS11Lib()
        with pkcs11_errors(conf):
            _load(library, conf)
        try:
            yield library
        finally:
            library.unload()
    finally:
        _in_use.release()


@contextmanager
def pkcs11_errors(conf: Path) -> Iterator[None]:
    """Turn PKCS#11's return values into KeyfoldError: denied for a wrong PIN, internal for the rest."""
    try:
        yield
    except PyKCS11.PyKCS11Error as error:
        raise _as_keyfold_error(error, conf) from error


def open_token(library: Any, label: str, pin: str, *, role: int = PyKCS11.CKU_USER) -> Any:
    """A read-write session on the token, logged in; KeyfoldError(not_found) if there is no such token."""
    for slot in library.getSlotList(tokenPresent=True):
        if library.getTokenInfo(slot).label.rstrip(" \0") == label:
            session = library.openSession(slot, PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
            session.login(pin, role)
            return session
    raise KeyfoldError(
        "not_found",
        f"there is no token {label!r} on this node",
        not_done="no key was used",
        next_step="see whether the agent has caught up: keyfold status",
    )


def _load(library: Any, conf: Path) -> None:
    before = os.environ.get("SOFTHSM2_CONF")
    os.environ["SOFTHSM2_CONF"] = str(conf)
    try:
        library.load(LIBRARY)
    finally:
        if before is None:
            del os.environ["SOFTHSM2_CONF"]
        else:
            os.environ["SOFTHSM2_CONF"] = before


def _as_keyfold_error(error: PyKCS11.PyKCS11Error, conf: Path) -> KeyfoldError:
    if error.value in (PyKCS11.CKR_PIN_INCORRECT, PyKCS11.CKR_PIN_INVALID, PyKCS11.CKR_PIN_LEN_RANGE):
        return KeyfoldError(
            "denied",
            f"the token under {conf.parent} refuses the PIN",
            not_done="no key was used",
            next_step="compare the PIN's file with the other nodes': sha256sum /etc/keyfold/credentials/system.pin",
        )
    return KeyfoldError(
        "internal",
        f"SoftHSM answers {error} for the token under {conf.parent}",
        not_done="no key was made or used",
        next_step="look for SoftHSM's own message: journalctl -t softhsm2 -n 20; df -h",
    )
