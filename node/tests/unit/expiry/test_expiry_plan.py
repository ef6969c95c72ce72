"""Which sets go and which are held: every rule of docs/formats.md "How long a set is kept", on facts alone."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyfold.expiry.plan import ABANDONED, RETENTION, Candidate, copies_needed, plan

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
KEPT = RETENTION["daily"]


def made(sequence: int, days_old: float, *partitions: str, verified: bool = True) -> Candidate:
    received = NOW - timedelta(days=days_old)
    return Candidate(
        f"set-{sequence}", received, received, sequence, "daily", partitions or ("acme",), verified=verified
    )


def actions(*candidates: Candidate, released: tuple[str, ...] = ()) -> dict[str, str]:
    return {one.set_id: one.action for one in plan(candidates, NOW, released)}


def reason(wanted: str, *candidates: Candidate) -> str:
    return next(one.reason for one in plan(candidates, NOW) if one.set_id == wanted)


def test_daily_sets_are_kept_ten_days() -> None:
    assert timedelta(days=10) == KEPT


def test_a_set_that_is_due_goes_once_a_newer_one_is_verified() -> None:
    assert actions(made(1, 11), made(2, 1)) == {"set-1": "expire", "set-2": "keep"}


def test_the_moment_it_is_due_is_its_arrival_plus_its_retention() -> None:
    just, not_yet = made(1, 10), replace(made(1, 10), received=NOW - KEPT + timedelta(microseconds=1))
    assert actions(just, made(2, 1))["set-1"] == "expire"
    assert actions(not_yet, made(2, 1))["set-1"] == "keep"
    assert plan([not_yet], NOW)[0].due == NOW + timedelta(microseconds=1)


def test_a_set_is_held_while_nothing_newer_is_verified() -> None:
    assert actions(made(1, 11)) == {"set-1": "hold"}
    assert actions(made(1, 11), made(2, 1, verified=False))["set-1"] == "hold"
    assert "no newer verified set holds acme" in reason("set-1", made(1, 11))


def test_all_sets_being_old_never_empties_the_store() -> None:
    assert actions(made(1, 40), made(2, 30), made(3, 20)) == {"set-1": "expire", "set-2": "expire", "set-3": "hold"}


def test_a_later_arrival_with_a_lower_number_is_not_newer() -> None:
    assert actions(made(2, 11), made(1, 1))["set-2"] == "hold"


def test_a_partition_without_a_newer_copy_holds_its_set_by_name() -> None:
    old, partial = made(1, 11, "acme", "beta"), made(2, 1, "acme")
    assert actions(old, partial)["set-1"] == "hold"
    assert "beta" in reason("set-1", old, partial)
    assert actions(old, partial, released=("beta",))["set-1"] == "expire"


def test_releasing_every_partition_still_needs_a_newer_verified_set() -> None:
    assert actions(made(1, 11), released=("acme",)) == {"set-1": "hold"}


def test_expiry_makes_no_hole_in_the_chain() -> None:
    held, due, newest = made(1, 13, "beta"), made(2, 12), made(3, 1)
    assert actions(held, due, newest) == {"set-1": "hold", "set-2": "hold", "set-3": "keep"}
    assert "set-1" in reason("set-2", held, due, newest)


def test_an_unbelievable_manifest_is_held_with_its_reason_and_holds_nobody_up() -> None:
    bad = Candidate("bad", NOW - timedelta(days=30), NOW - timedelta(days=30), problem="it is not signed")
    assert actions(bad, made(1, 11), made(2, 1)) == {"bad": "hold", "set-1": "expire", "set-2": "keep"}
    assert reason("bad", bad) == "it is not signed"


def test_a_restores_safety_set_goes_as_a_daily_one_does() -> None:
    safety = replace(made(1, 11), retention_class="safety")
    assert actions(safety, made(2, 1)) == {"set-1": "expire", "set-2": "keep"}
    assert actions(safety) == {"set-1": "hold"}


def test_an_unknown_retention_class_is_held() -> None:
    strange = replace(made(1, 400), retention_class="monthly")
    assert actions(strange, made(2, 1))["set-1"] == "hold"
    assert "monthly" in reason("set-1", strange, made(2, 1))


@pytest.mark.parametrize(
    ("age", "action"), [(ABANDONED - timedelta(seconds=1), "in_progress"), (ABANDONED, "clean_up")]
)
def test_an_upload_without_a_manifest_is_left_alone_until_it_is_abandoned(age: timedelta, action: str) -> None:
    assert actions(Candidate("upload", None, NOW - age)) == {"upload": action}


def test_only_what_is_due_needs_newer_copies() -> None:
    assert copies_needed([made(1, 11, "acme", "beta"), made(2, 1, "gamma")], NOW, ("beta",)) == {"acme"}
