"""benchmarks/results.json: name → `{value, unit, goal, met, how, runs}`."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.keyfold_bench.figures import FIGURES

_SIGNIFICANT = 4
_NUMBERS = re.compile(r"\[[-0-9.e,\s]+\]")


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a measurement: its value in the figure's unit, and what else is worth knowing of it."""

    value: float
    details: Mapping[str, Any] = field(default_factory=dict)


Entry = dict[str, Any]
Measured = Mapping[str, Sequence[Run]]


def entry(name: str, runs: Sequence[Run]) -> Entry:
    """The entry of a figure, from its runs (at least one)."""
    figure = FIGURES[name]
    value = rounded(figure.of_runs([run.value for run in runs]))
    return {
        "value": value,
        "unit": figure.unit,
        "goal": None if figure.goal is None else str(figure.goal),
        "met": None if figure.goal is None else figure.goal.met_by(value),
        "how": figure.how,
        "runs": [{"value": rounded(run.value), **run.details} for run in runs],
    }


def load(path: Path) -> dict[str, Entry]:
    """Everything measured so far; empty if nothing was."""
    if not path.exists():
        return {}
    entries: dict[str, Entry] = json.loads(path.read_text(encoding="utf-8"))
    return entries


def save(path: Path, measured: Measured) -> None:
    """Replace the entries that were measured, keep the others; in the order of `FIGURES`."""
    entries = {**load(path), **{name: entry(name, runs) for name, runs in measured.items()}}
    ordered = {name: entries[name] for name in FIGURES if name in entries}
    text = json.dumps(ordered, indent=1, ensure_ascii=False)
    path.write_text(_NUMBERS.sub(_on_one_line, text) + "\n", encoding="utf-8")


def _on_one_line(numbers: re.Match[str]) -> str:
    return " ".join(numbers[0].split())


def rounded(value: float) -> float:
    """To four significant digits: none of the figures is better known."""
    return float(f"{value:.{_SIGNIFICANT}g}")
