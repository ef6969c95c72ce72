"""Which partitions are due for the slow full comparison: all of them once in a period, never all at once. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence


class Backstop:
    """Spreads the comparisons over the period, so that a thousand partitions are no burst of etcd reads."""

    def __init__(self, now: float, period_seconds: float) -> None:
        self._last = now
        self._period = period_seconds
        self._compared: set[str] = set()

    def due(self, now: float, names: Sequence[str]) -> set[str]:
        """Those to compare now; `now` is monotonic, in seconds. What was missed while nobody asked comes at once."""
        share = math.floor(len(names) * (now - self._last) / self._period)
        if share < 1:
            return set()
        self._last += share * self._period / len(names)
        waiting = [name for name in names if name not in self._compared]
        chosen = set(waiting[:share])
        self._compared |= chosen
        if len(waiting) <= share:
            self._compared = set()
        return chosen
