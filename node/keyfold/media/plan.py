"""What a run of `keyfold media expire` does with each medium. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyfold.media.register import ABANDONED, ACTIVE, DUE, WARN_BEFORE, WRITING, Medium

KEEP, WARN, DESTROY, FINISH = "keep", "warn", "destroy", "finish"


@dataclass(frozen=True, slots=True)
class Step:
    """`because`: for the register, where the key is to be destroyed; `reason` in words."""

    medium: Medium
    action: str
    reason: str
    because: str = ""


def plan(media: Iterable[Medium], now: datetime) -> list[Step]:
    """One step for every medium that is not over; under the job `media`, for nobody is writing one then."""
    return [_step(one, now) for one in media if one.lives or not one.certificate]


def _step(medium: Medium, now: datetime) -> Step:
    left = medium.left(now)
    if medium.state == WRITING:
        return Step(medium, DESTROY, "it was never finished", ABANDONED)
    if medium.state != ACTIVE:
        return Step(medium, FINISH, "its key is destroyed, and not certified yet")
    if left <= timedelta(0):
        return Step(medium, DESTROY, f"its key was due on {medium.due[:10]}", DUE)
    days = f"its key is destroyed on {medium.due[:10]}, in {left.days} days"
    return Step(medium, WARN if left <= WARN_BEFORE else KEEP, days)
