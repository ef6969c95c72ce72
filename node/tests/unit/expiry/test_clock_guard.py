"""A clock that jumped is noticed, whichever way and however long ago; an honest one is believed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from keyfold.expiry.clock_guard import Arrival, Reading, objections

THEN = datetime(2026, 11, 25, 3, tzinfo=UTC)
LAST = Reading(THEN, 1_000.0, "boot-1")
DAY = timedelta(days=1)
HOUR = timedelta(hours=1)


def later(real: timedelta, *, jump: timedelta = timedelta(), boot: str = "boot-1") -> Reading:
    """A reading `real` time after the last run, with the clock set by `jump` in between."""
    since_boot = LAST.since_boot + real.total_seconds() if boot == LAST.boot else 60.0
    return Reading(THEN + real + jump, since_boot, boot)


def arrived(created: datetime, underway: timedelta = HOUR) -> Arrival:
    return Arrival(created, created + underway)


def test_an_ordinary_day_is_believed() -> None:
    assert objections(later(DAY), LAST, THEN + DAY - HOUR, arrived(THEN)) == []


def test_the_first_run_of_a_store_without_sets_is_believed() -> None:
    assert objections(LAST, None, None, None) == []


@pytest.mark.parametrize("jump", [30 * DAY, -30 * DAY, 2 * HOUR, -2 * HOUR])
def test_a_jump_since_the_last_run_is_noticed(jump: timedelta) -> None:
    (reason,) = objections(later(DAY, jump=jump), LAST, None, None)
    assert ("ahead" if jump > timedelta() else "back") in reason


def test_a_clock_that_was_set_right_again_is_believed() -> None:
    assert objections(later(2 * DAY, jump=timedelta(minutes=1)), LAST, None, None) == []


def test_days_asleep_without_a_reboot_are_believed() -> None:
    assert objections(later(20 * DAY), LAST, None, None) == []


@pytest.mark.parametrize(("real", "jump", "words"), [(DAY, -3 * DAY, "behind"), (DAY, 9 * DAY, "started again")])
def test_a_jump_across_a_reboot_is_noticed(real: timedelta, jump: timedelta, words: str) -> None:
    (reason,) = objections(later(real, jump=jump, boot="boot-2"), LAST, None, None)
    assert words in reason


def test_a_reboot_alone_is_believed() -> None:
    assert objections(later(DAY, boot="boot-2"), LAST, THEN, None) == []


def test_a_first_run_with_a_clock_ahead_is_noticed_by_the_silence_of_the_store() -> None:
    assert "nothing arrived" in objections(LAST, None, THEN - 12 * DAY, None)[0]


def test_a_first_run_with_a_clock_back_is_noticed_by_arrivals_in_the_future() -> None:
    assert "in the future" in objections(LAST, None, THEN + DAY, None)[0]


@pytest.mark.parametrize("wrong", [DAY, -DAY], ids=["a day ahead", "a day behind"])
def test_a_store_clock_that_was_wrong_when_the_newest_set_arrived_is_noticed(wrong: timedelta) -> None:
    # The clock has been wrong all along: last run and arrivals agree with it, the node's signature does not.
    created = THEN - wrong
    assert objections(LAST, None, THEN, Arrival(created, created + wrong)) != []
