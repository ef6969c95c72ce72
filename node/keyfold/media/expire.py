"""What the hourly timer does: destroy keys that are due, finish what was begun, say what comes next."""

from __future__ import annotations

from dataclasses import dataclass

from keyfold.errors import KeyfoldError
from keyfold.media.ending import Ended, Ending
from keyfold.media.plan import DESTROY, FINISH, Step
from keyfold.media.register import DUE


@dataclass(frozen=True, slots=True)
class Outcome:
    """`problem`: why it was not done, or is not certified yet; "" if the step is done, or needed nothing."""

    step: Step
    ended: Ended | None
    problem: str


def carry_out(steps: list[Step], ending: Ending, by: str) -> list[Outcome]:
    """One outcome for each step: what fails for one medium does not keep the others."""
    return [_one(step, ending, by) for step in steps]


def _one(step: Step, ending: Ending, by: str) -> Outcome:
    if step.action not in (DESTROY, FINISH):
        return Outcome(step, None, "")
    try:
        ended = ending.end(step.medium, step.because or DUE, by=by)
    except KeyfoldError as error:
        if error.code not in ("refused", "conflict"):
            raise
        return Outcome(step, None, error.what)
    return Outcome(step, ended, ended.outstanding)
