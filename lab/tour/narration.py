"""What the tour shows: numbered steps, what was done on which machine, and how long it took."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager


class StepFailed(Exception):
    """A promise did not hold: what happened, and where to look."""

    def __init__(self, what: str, look: str) -> None:
        super().__init__(what)
        self.look = look


class Narrator:
    def __init__(self) -> None:
        self._number = 0

    @contextmanager
    def step(self, title: str) -> Iterator[None]:
        """One step of the tour; its time is shown when it holds."""
        self._number += 1
        print(f"\n({self._number}) {title}", flush=True)
        begun = time.monotonic()
        yield
        print(f"    held, {time.monotonic() - begun:.1f} s", flush=True)

    def did(self, machine: str, what: str, seconds: float | None = None) -> None:
        """One thing that was done, on one machine."""
        took = "" if seconds is None else f"  [{_duration(seconds)}]"
        print(f"    {machine:<10} {what}{took}", flush=True)

    def shows(self, text: str) -> None:
        """Output as a user sees it."""
        for line in text.rstrip().splitlines():
            print(f"      | {line}")
        sys.stdout.flush()


def _duration(seconds: float) -> str:
    return f"{seconds * 1000:.0f} ms" if seconds < 1 else f"{seconds:.1f} s"
