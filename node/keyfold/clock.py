"""Time, injectable: UTC for what is written down, monotonic for every deadline."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    def utc(self) -> datetime:
        """Now, timezone-aware, UTC."""

    def monotonic(self) -> float:
        """Seconds on a clock that never jumps."""

    def sleep(self, seconds: float) -> None:
        """Wait before the next attempt of something that cannot be awaited."""


class SystemClock:
    def utc(self) -> datetime:
        return datetime.now(UTC)

    def monotonic(self) -> float:
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        time.sleep(seconds)


def stamp(moment: datetime) -> str:
    """RFC 3339 in UTC with microseconds, as it stands in manifests and records."""
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
