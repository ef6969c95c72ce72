"""PINs: read where nobody else sees them, and changed through PKCS#11 alone (C_SetPIN)."""

from __future__ import annotations

import getpass
import os
import sys
import sysconfig
from pathlib import Path
from typing import TextIO

from keyfold.errors import KeyfoldError

_SHORTEST = 8
_LONGEST_BYTES = 255
_P11_KIT_CLIENT = f"/usr/lib/{sysconfig.get_config_var('MULTIARCH')}/pkcs11/p11-kit-client.so"


class PinSource:
    """The terminal, else standard input or `descriptor`: one line per PIN."""

    def __init__(self, descriptor: int | None) -> None:
        self._stream: TextIO | None = None
        if descriptor is not None:
            self._stream = os.fdopen(descriptor, encoding="utf-8")
        elif not sys.stdin.isatty():
            self._stream = sys.stdin

    def read(self, what: str) -> str:
        pin = getpass.getpass(f"{what}: ") if self._stream is None else self._stream.readline().rstrip("\r\n")
        if not pin:
            raise _invalid(f"no {what} was given")
        return pin

    def read_new(self) -> str:
        """Twice, where a person types it."""
        pin = self.read("new PIN")
        if self._stream is None and self.read("new PIN again") != pin:
            raise _invalid("the two new PINs differ")
        if len(pin) < _SHORTEST or len(pin.encode()) > _LONGEST_BYTES or not pin.isprintable():
            raise _invalid(f"the new PIN has not {_SHORTEST} to {_LONGEST_BYTES} printable characters")
        return pin


def rotate(partition: str, socket: Path, old: str, new: str, module: str = _P11_KIT_CLIENT) -> None:
    """C_SetPIN on the partition's token, behind the tunnel's PKCS#11 socket."""
    import PyKCS11  # PKCS#11 only for the one command that needs it

    os.environ["P11_KIT_SERVER_ADDRESS"] = f"unix:path={socket}"
    library = PyKCS11.PyKCS11Lib()
    try:
        library.load(module)
        slots = library.getSlotList(tokenPresent=True)
        mine = [slot for slot in slots if library.getTokenInfo(slot).label.strip("\0 ") == partition]
        if not mine:
            raise KeyfoldError(
                "agent_down",
                f"no node shows the token of partition {partition} behind {socket}",
                not_done="the PIN was not changed",
                next_step=f"systemctl status keyfold-client@{partition}",
            )
        session = library.openSession(mine[0], PyKCS11.CKF_SERIAL_SESSION | PyKCS11.CKF_RW_SESSION)
        session.setPin(old, new)
    except PyKCS11.PyKCS11Error as error:
        raise _refused(str(PyKCS11.CKR.get(error.value, error.value))) from None


_REFUSALS = {
    "CKR_PIN_INCORRECT": (
        "denied",
        "the old PIN is wrong",
        "keyfold-subscriber pin initial shows the first one, sealed",
    ),
    "CKR_PIN_LOCKED": ("locked", "the login is locked after too many wrong PINs", "wait, or ask the operator"),
    "CKR_TOKEN_WRITE_PROTECTED": ("denied", "the partition's policy has read_only true", "keyfold-subscriber policy"),
}


def _refused(name: str) -> KeyfoldError:
    other = ("internal", "PKCS#11 refused to change the PIN", "try again later; then ask the operator")
    code, what, next_step = _REFUSALS.get(name, other)
    return KeyfoldError(code, f"{what} ({name})", not_done="the PIN was not changed", next_step=next_step)


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        what,
        not_done="the PIN was not used or changed",
        next_step="type it, or give it as a line on standard input or --pin-fd",
    )
