"""Whether the clock can be believed enough to delete by it. Pure.

Ages are differences between the store's clock now and when something arrived. A jump ahead would make everything look
old, a jump back or a clock that was wrong on arrival would make new sets look old later. So three witnesses are heard:
the last run (its UTC, and time since boot, which no clock setting moves), the times of what lies in the store, and the
times that nodes signed into manifests with their own clocks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

# Within this, clocks agree.
TOLERANCE = timedelta(hours=1)
# Longest time in which nothing arrived and expiry still believes that time passed.
SILENCE = timedelta(days=3)
# Longest time between runs across a reboot.
GAP = timedelta(days=3)
# An upload takes at most so long.
UPLOAD = timedelta(hours=20)


@dataclass(frozen=True, slots=True)
class Reading:
    """A look at the clocks. `since_boot`: seconds that no clock setting changes; comparable within one `boot`."""

    utc: datetime
    since_boot: float
    boot: str


@dataclass(frozen=True, slots=True)
class Arrival:
    """The newest set with a genuine manifest: `created` by the node's clock (signed), `received` by the store's."""

    created: datetime
    received: datetime


def objections(
    now: Reading, last: Reading | None, newest_in_store: datetime | None, arrival: Arrival | None
) -> list[str]:
    """Every reason not to believe the clock; none: it can be believed."""
    return [*_against_last_run(now, last), *_against_store(now, newest_in_store), *_against_nodes(now, arrival)]


def _against_last_run(now: Reading, last: Reading | None) -> Iterator[str]:
    if last is None:
        return
    passed = now.utc - last.utc
    if now.boot == last.boot:
        jump = passed - timedelta(seconds=now.since_boot - last.since_boot)
        if abs(jump) > TOLERANCE:
            yield f"the clock was set {'ahead' if jump > timedelta() else 'back'} by {_span(jump)} since the last run"
    elif passed < -TOLERANCE:
        yield f"the clock is {_span(passed)} behind the last run"
    elif passed > GAP:
        yield f"the machine was started again, and by its clock the last run is {_span(passed)} ago"


def _against_store(now: Reading, newest: datetime | None) -> Iterator[str]:
    if newest is None:
        return
    age = now.utc - newest
    if age < -TOLERANCE:
        yield f"the store has something that arrived {_span(age)} in the future"
    elif age > SILENCE:
        yield f"by the clock, nothing arrived for {_span(age)}: it was set ahead, or backups have stopped"


def _against_nodes(now: Reading, arrival: Arrival | None) -> Iterator[str]:
    if arrival is None:
        return
    underway = arrival.received - arrival.created
    if underway < -TOLERANCE or now.utc < arrival.created - TOLERANCE:
        behind = max(-underway, arrival.created - now.utc)
        yield f"this clock is or was {_span(behind)} behind the clock of the node that made the newest set"
    elif underway > UPLOAD:
        yield f"the newest set arrived {_span(underway)} after it was made: this clock is ahead of the node's"


def _span(time: timedelta) -> str:
    hours = abs(time) / timedelta(hours=1)
    return f"{hours / 24:.1f} days" if hours >= 48 else f"{hours:.1f} hours"
