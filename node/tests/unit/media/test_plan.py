"""What the daily run decides, at the edges of the days that count."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyfold.clock import stamp
from keyfold.media.plan import DESTROY, FINISH, KEEP, WARN, plan
from keyfold.media.register import ABANDONED, ACTIVE, DESTROYED, DUE, Destroyed, Medium, dead_by, due_of

MADE = datetime(2026, 3, 1, 23, 59, tzinfo=UTC)
DAY_0 = datetime(2026, 3, 1, tzinfo=UTC)
MEDIUM = Medium(
    id="20260301-00000000",
    name="vault",
    device="/dev/disk/by-id/usb",
    partitions=("acme",),
    ticket="CHG-1",
    reason="-",
    by="grace",
    node="hsm3",
    created=stamp(MADE),
    due=stamp(due_of(MADE)),
    recipient="age1keyfold1",
    key_fingerprint="SHA256:",
    files=("a.object",),
    state=ACTIVE,
)
GONE = replace(MEDIUM, state=DESTROYED, destroyed=Destroyed(stamp(MADE), DUE, "node hsm3"))


@pytest.mark.parametrize(
    ("after", "action"),
    [
        (timedelta(days=149, hours=23), KEEP),
        (timedelta(days=150), WARN),
        (timedelta(days=169, hours=23), WARN),
        (timedelta(days=170), DESTROY),
        (timedelta(days=400), DESTROY),
    ],
)
def test_days_count_from_the_midnight_before_it_was_made(after: timedelta, action: str) -> None:
    (step,) = plan([MEDIUM], DAY_0 + after)
    assert (step.action, step.because) == (action, DUE if action == DESTROY else "")


def test_the_last_daily_set_with_a_copy_goes_by_day_180() -> None:
    # Made at the end of day 169, kept for ten days.
    last = due_of(MADE) - timedelta(seconds=1) + timedelta(days=10)
    assert last < dead_by(MADE) == DAY_0 + timedelta(days=180)


def test_what_was_never_finished_is_destroyed_at_once() -> None:
    (step,) = plan([replace(MEDIUM, state="writing")], MADE)
    assert (step.action, step.because) == (DESTROY, ABANDONED)


def test_a_destruction_is_finished_until_it_is_certified() -> None:
    assert [step.action for step in plan([GONE], MADE)] == [FINISH]
    assert plan([replace(GONE, certificate="signed")], MADE) == []
