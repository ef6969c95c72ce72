"""When objects expire, and which clocks are believed; without I/O."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from keyfold.clock import stamp
from keyfold.invalidation.entry import Entry
from keyfold.invalidation.expiry import Point, State, after_run, clock_problem, decode, due, expires_at, proven

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)


def shadow(revision: int, age: timedelta) -> Entry:
    return Entry("a", 4, None, None, 100, "", stamp(NOW - age), revision)


STATE = State(NOW - timedelta(hours=1), (Point(10, NOW - 100 * DAY), Point(20, NOW - 91 * DAY), Point(30, NOW - DAY)))


def test_an_object_expires_when_etcd_has_held_it_for_so_many_days() -> None:
    assert due([shadow(20, 91 * DAY)], STATE, NOW, 90)
    assert not due([shadow(21, 91 * DAY)], STATE, NOW, 90)
    assert not due([shadow(20, 89 * DAY)], STATE, NOW, 90)


def test_zero_days_is_never() -> None:
    assert not due([shadow(1, 9999 * DAY)], STATE, NOW, 0)
    assert expires_at(stamp(NOW), 0) is None
    assert expires_at(stamp(NOW), 1) == "2026-11-26T12:00:00.000000Z"


def test_a_node_whose_clock_was_years_behind_when_it_destroyed_does_not_make_it_expire() -> None:
    assert not due([shadow(25, 4000 * DAY)], STATE, NOW, 90)


def test_the_first_run_of_a_cluster_expires_nothing() -> None:
    assert proven(None, NOW, 90) == 0
    assert not due([shadow(1, 4000 * DAY)], None, NOW, 90)


def problem(now: datetime, others: dict[str, datetime], nodes: int, *, accept: bool = False) -> str:
    return clock_problem(now, STATE, others, nodes, accept_pause=accept)


def test_a_node_that_most_others_contradict_is_not_believed() -> None:
    right = {"hsm2": NOW - timedelta(minutes=1), "hsm3": NOW}
    assert problem(NOW, right, 3) == ""
    assert "1 of 3 nodes agree" in problem(NOW + 400 * DAY, right, 3)
    assert problem(NOW, {"hsm2": NOW + 400 * DAY, "hsm3": NOW}, 3) == ""


def test_a_node_that_sees_no_majority_of_nodes_is_not_believed() -> None:
    assert "2 of 5" in problem(NOW, {"hsm2": NOW}, 5)
    assert problem(NOW, {}, 1) == ""


def test_a_clock_that_went_back_is_not_believed() -> None:
    assert "went back" in problem(NOW - DAY, {}, 1)


def test_after_a_long_pause_a_person_confirms_the_time() -> None:
    later = NOW + 30 * DAY
    assert "jumped" in problem(later, {}, 1)
    assert problem(later, {}, 1, accept=True) == ""


def test_runs_are_written_down_once_a_day_and_not_without_end() -> None:
    state = after_run(None, NOW, 1)
    assert after_run(state, NOW + timedelta(hours=1), 2).points == state.points
    for day in range(1, 4000):
        state = after_run(state, NOW + day * DAY, day + 1)
    assert len(state.points) <= 1001
    assert state.points[0] == Point(1, NOW)
    assert proven(state, NOW + 4000 * DAY, 90) >= 3900
    assert decode(state.encode()) == state
