"""Every partition is compared once in a period, and never all at once."""

from __future__ import annotations

from collections import Counter

from keyfold.agent.backstop import Backstop

NAMES = [f"p{number:04}" for number in range(1000)]


def test_a_thousand_partitions_are_each_compared_once_in_a_period_a_few_at_a_time() -> None:
    backstop, seen = Backstop(0.0, 600.0), Counter[str]()
    for tick in range(1, 121):
        due = backstop.due(tick * 5.0, NAMES)
        assert len(due) <= 10
        seen.update(due)
    assert set(seen) == set(NAMES)
    assert max(seen.values()) <= 2


def test_a_single_partition_is_compared_when_the_period_is_over() -> None:
    backstop = Backstop(0.0, 600.0)
    assert backstop.due(599.0, ["acme"]) == set()
    assert backstop.due(600.0, ["acme"]) == {"acme"}
    assert backstop.due(601.0, ["acme"]) == set()


def test_no_partitions_are_no_work() -> None:
    assert Backstop(0.0, 600.0).due(10_000.0, []) == set()
