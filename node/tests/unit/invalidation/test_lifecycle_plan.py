"""What reactivating and purging would do, without I/O."""

from __future__ import annotations

import pytest

from keyfold.errors import KeyfoldError
from keyfold.invalidation import plan
from keyfold.invalidation.entry import PRIVATE, PUBLIC, Entry, Selection

SECRET = 4


def shadow(file: str, object_class: int = SECRET, label: str = "k", key_id: str = "01", created: str = "t1") -> Entry:
    return Entry(file, object_class, label.encode().hex(), key_id, 100, created, "2026-01-01T00:00:00.000000Z", 5)


def live(file: str, object_class: int = SECRET, label: str = "k", key_id: str = "01") -> Entry:
    return Entry(file, object_class, label.encode().hex(), key_id, 100, "t0", "", 4)


def files(made: plan.Plan) -> list[str]:
    return [one.file for one in made.writes]


def refused(*arguments: object, **options: object) -> KeyfoldError:
    with pytest.raises(KeyfoldError) as caught:
        plan.reactivate(*arguments, **options)  # type: ignore[arg-type]
    return caught.value


def test_a_private_key_comes_back_with_its_public_half_unless_told_otherwise() -> None:
    pair = [shadow("a", PRIVATE), shadow("b", PUBLIC), shadow("c", PUBLIC, key_id="02")]
    assert files(plan.reactivate(Selection(files=("a",)), [], pair)) == ["a", "b"]
    assert files(plan.reactivate(Selection(files=("a",)), [], pair, with_public=False)) == ["a"]


def test_of_several_public_halves_the_one_of_the_same_moment_comes_along() -> None:
    pairs = [
        shadow("a1", PRIVATE, created="t1"),
        shadow("b1", PUBLIC, created="t1"),
        shadow("a2", PRIVATE, created="t2"),
        shadow("b2", PUBLIC, created="t2"),
    ]
    assert files(plan.reactivate(Selection(files=("a2",)), [], pairs)) == ["a2", "b2"]


def test_labels_and_ids_choose_every_class() -> None:
    there = [shadow("a", PRIVATE), shadow("b", PUBLIC), shadow("c", label="other", key_id="ff")]
    assert files(plan.reactivate(Selection(labels=("k",)), [], there)) == ["a", "b"]
    assert files(plan.reactivate(Selection(ids=("FF",)), [], there)) == ["c"]


def test_what_is_neither_invalidated_nor_live_is_not_found_by_name() -> None:
    error = refused(Selection(("x",), ("nobody",), ("09",)), [live("a")], [])
    assert error.code == "not_found"
    assert all(name in error.what for name in ("x", "'nobody'", "09"))


def test_what_is_live_already_is_as_wanted_and_stays_in_what_officers_approve() -> None:
    made = plan.reactivate(Selection(files=("a", "b")), [live("a", key_id="02")], [shadow("b")])
    assert files(made) == ["b"]
    assert made.files == ["a", "b"]
    assert plan.reactivate(Selection(labels=("k",)), [live("a")], []).writes == ()


@pytest.mark.parametrize("other", [live("z"), live("a", label="another")])
def test_a_collision_with_a_live_object_is_refused_and_names_it(other: Entry) -> None:
    error = refused(Selection(files=("a", "q")), [other], [shadow("a"), shadow("q", key_id="55")])
    assert error.code == "conflict"
    assert other.file in error.what


def test_a_live_object_of_another_class_or_without_a_name_is_no_collision() -> None:
    assert files(plan.reactivate(Selection(files=("a",)), [live("z", PUBLIC)], [shadow("a")])) == ["a"]
    nameless = shadow("a", label="", key_id="")
    assert files(plan.reactivate(Selection(files=("a",)), [live("z", label="", key_id="")], [nameless])) == ["a"]


def test_two_invalidated_objects_of_one_name_do_not_both_come_back() -> None:
    error = refused(Selection(labels=("k",)), [], [shadow("a"), shadow("b")])
    assert error.code == "conflict"
    assert "--file" in error.next_step


def test_purge_takes_what_is_invalidated_and_is_done_with_what_was_purged() -> None:
    made = plan.purge(Selection(files=("a", "gone"), labels=("other",)), set(), [shadow("a"), shadow("b")], {"gone"})
    assert files(made) == ["a"]
    assert made.files == ["a", "gone"]
    assert plan.purge(Selection(labels=("nobody",)), set(), [], set()).writes == ()


@pytest.mark.parametrize(("name", "code"), [("live", "conflict"), ("never", "not_found")])
def test_purge_touches_nothing_live_and_nothing_unheard_of(name: str, code: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        plan.purge(Selection(files=("a", name)), {"live"}, [shadow("a")], set())
    assert caught.value.code == code


def test_a_request_that_names_nothing_is_invalid() -> None:
    for request in ({}, {"files": []}, {"files": "a"}, {"labels": [1]}):
        with pytest.raises(KeyfoldError) as caught:
            Selection.of(request)
        assert caught.value.code == "invalid"
