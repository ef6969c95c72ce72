"""What a PIN must be. No message ever repeats one."""

from __future__ import annotations

from keyfold.errors import KeyfoldError

SHORTEST_CHARACTERS = 8
# SoftHSM's CK_TOKEN_INFO.ulMaxPinLen.
LONGEST_BYTES = 255


def check_pin(pin: str, whose: str) -> None:
    """KeyfoldError(invalid) unless the PIN is printable, ≥ 8 characters and ≤ 255 bytes of UTF-8."""
    if len(pin) < SHORTEST_CHARACTERS:
        raise _invalid(f"{whose} has fewer than {SHORTEST_CHARACTERS} characters")
    if not pin.isprintable():
        raise _invalid(f"{whose} has characters that cannot be printed")
    if len(pin.encode()) > LONGEST_BYTES:
        raise _invalid(f"{whose} has more than {LONGEST_BYTES} bytes")


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        what,
        not_done="no token was made",
        next_step=f"choose a PIN of {SHORTEST_CHARACTERS} to {LONGEST_BYTES} printable characters",
    )
