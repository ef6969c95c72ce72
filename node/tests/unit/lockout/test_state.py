"""The sliding window and the lock, without I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyfold.lockout.state import Failures, Limits, decode, encode, locked, written_ago
from keyfold.store.interface import KeyValue

LIMITS = Limits(max_failures=3, window_seconds=300, lock_seconds=300)
NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def after(*moments: float, limits: Limits = LIMITS) -> Failures:
    failures = Failures()
    for moment in moments:
        failures = failures.failed(moment, limits)
    return failures


def test_the_last_failure_allowed_locks_for_the_whole_time() -> None:
    assert after(1, 2).locked_for(2, LIMITS) == 0
    assert after(1, 2, 3).locked_for(3, LIMITS) == 300
    assert after(1, 2, 3).locked_for(303, LIMITS) == 0


def test_failures_that_slid_out_of_the_window_do_not_count() -> None:
    failures = after(1, 2, 302)
    assert failures.recent(302, LIMITS) == 1
    assert failures.locked_for(302, LIMITS) == 0


def test_a_lock_shorter_than_the_window_never_lets_more_failures_into_the_window() -> None:
    limits = Limits(3, 300, 10)
    failures = after(1, 2, 3, limits=limits)
    assert failures.locked_for(14, limits) == 1 + 300 - 14
    assert failures.locked_for(301, limits) == 0


def test_what_one_node_wrote_means_the_same_on_another_whose_clocks_differ() -> None:
    failures = after(1001, 1002, 1003)
    there = decode(encode(failures, 1004, NOW), now=7.0)
    assert there.recent(7.0, LIMITS) == 3
    assert round(there.locked_for(7.0, LIMITS)) == round(failures.locked_for(1004, LIMITS))


def test_many_failures_take_little_room() -> None:
    limits = Limits(100_000, 300, 300)
    assert len(encode(after(*(n / 100 for n in range(3000)), limits=limits), 30, NOW)) < 1000


def test_a_value_from_the_future_counts_as_written_now() -> None:
    value = encode(Failures(), 0, NOW + timedelta(days=400))
    assert written_ago(value, NOW) == 0


def test_locked_users_are_listed_with_the_end_of_the_lock() -> None:
    value = encode(after(1, 2, 3), 3, NOW)
    item = KeyValue("/keyfold/v1/logins/acme/so", value, 5, 5, 1, 0)
    assert locked([item], NOW) == {"acme": {"so": "2026-11-25T12:05:00.000000Z"}}
    assert locked([item], NOW + timedelta(seconds=301)) == {}
