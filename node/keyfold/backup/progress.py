"""A progress bar for a person who watches; silent everywhere else."""

from __future__ import annotations

import sys
from types import TracebackType
from typing import Self, TextIO

_WIDTH = 30


class Progress:
    """`with Progress("uploading", total_bytes) as bar: bar.advance(n)`; drawn on `stream` only if it is a terminal."""

    def __init__(self, label: str, total: int, stream: TextIO | None = None) -> None:
        self._label = label
        self._total = max(total, 1)
        self._stream = stream or sys.stderr
        self._shown = self._stream.isatty()
        self._done = 0
        self._percent = -1

    def advance(self, amount: int) -> None:
        self._done += amount
        percent = min(100, 100 * self._done // self._total)
        if self._shown and percent != self._percent:
            self._percent = percent
            filled = _WIDTH * percent // 100
            self._stream.write(f"\r{self._label:<24} [{'#' * filled}{' ' * (_WIDTH - filled)}] {percent:3d} %")
            self._stream.flush()

    def __enter__(self) -> Self:
        self.advance(0)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._shown:
            self._stream.write("\n")
