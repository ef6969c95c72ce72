"""Await a condition; never sleep a fixed time.

Limits are generous: they end what hangs, and a busy machine is ten times slower than a quiet one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def wait_for(condition: Callable[[], T], what: str, seconds: float = 120.0, pause_seconds: float = 0.2) -> T:
    """Its first true value; AssertionError says what did not come, and the last value seen."""
    deadline = time.monotonic() + seconds
    while True:
        found = condition()
        if found:
            return found
        if time.monotonic() >= deadline:
            raise AssertionError(f"{what} did not come within {seconds:g} s; last seen: {found!r}")
        time.sleep(pause_seconds)
