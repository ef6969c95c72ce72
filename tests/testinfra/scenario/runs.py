"""What programs that run over and over say of each run or call: one JSON object a line in a file of their machine."""

from __future__ import annotations

import json
from dataclasses import dataclass

from scenario.machines import Machine


@dataclass(frozen=True)
class Run:
    """One run of a program, or one call of one that runs on; Unix times in seconds."""

    begun: float
    ended: float
    outcome: str

    @property
    def held(self) -> bool:
        return self.outcome == "ok"


def read_runs(machine: Machine, file: str) -> list[Run]:
    """None yet of a program that has not come so far as to open its file."""
    said = machine.shell(f"test ! -e {file} || cat {file}")
    return [Run(**json.loads(line)) for line in said.splitlines()]


def held_since(moment: float, runs: list[Run]) -> bool:
    """At least two that began after it held."""
    return sum(run.held for run in runs if run.begun > moment) >= 2
