"""Whom to ask next: stay with what works; come home to the first listed endpoint, the local member, after a while."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

HOME_AFTER_SECONDS = 15.0


class EndpointOrder:
    """The order in which to try endpoints 0 … count-1. Thread-safe; decides without I/O."""

    def __init__(self, count: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._count = count
        self._clock = clock
        self._lock = threading.Lock()
        self._current = 0
        self._away_since = 0.0

    def order(self) -> list[int]:
        """The present endpoint first, then the others in their listed order."""
        current = self._current
        return [current, *(i for i in range(self._count) if i != current)]

    def failed(self, index: int) -> None:
        """Leave this endpoint, if it is the present one, for the next in the list."""
        with self._lock:
            if index == self._current:
                self._move((index + 1) % self._count)

    def answered(self, index: int) -> None:
        """Stay with this endpoint."""
        if index != self._current:
            with self._lock:
                self._move(index)

    def home_due(self) -> bool:
        """Whether to probe the first endpoint now; True for one caller per HOME_AFTER_SECONDS."""
        if self._current == 0:
            return False
        with self._lock:
            due = self._current != 0 and self._clock() - self._away_since >= HOME_AFTER_SECONDS
            if due:
                self._away_since = self._clock()
            return due

    def _move(self, index: int) -> None:
        if self._current == 0 and index != 0:
            self._away_since = self._clock()
        self._current = index
