"""The table of every case, and the promises that hold over all of them."""

from __future__ import annotations

import itertools

import pytest

from keyfold.replication.decide import TORN, Action, Known, Local, follow, reconcile, unexplained

KNOWN = [None, Known(5, "a"), Known(5, None), Known(7, "a")]
LOCAL: list[Local] = [None, "a", "b", TORN]
REMOTE = [None, Known(5, "a"), Known(7, "a"), Known(7, "b")]


@pytest.mark.parametrize(
    ("known", "local", "remote", "action"),
    [
        (None, None, Known(7, "a"), Action.APPLY),
        (Known(5, "a"), "a", Known(7, "b"), Action.APPLY),
        (Known(5, "a"), "b", Known(7, "b"), Action.NOTHING),
        (Known(5, "a"), "b", Known(5, "a"), Action.OFFER),
        (Known(5, "a"), "c", Known(7, "b"), Action.CONFLICT_APPLY),
        (None, "c", Known(7, "b"), Action.CONFLICT_APPLY),
        (Known(5, "a"), None, Known(5, "a"), Action.APPLY),
        (Known(5, "a"), TORN, Known(5, "a"), Action.APPLY),
        (None, "a", None, Action.OFFER),
        (Known(5, "a"), "a", None, Action.REMOVE),
        (Known(5, "a"), "b", None, Action.CONFLICT_REMOVE),
        (Known(5, None), "a", None, Action.CONFLICT_REMOVE),
        (None, TORN, None, Action.CONFLICT_REMOVE),
        (Known(5, "a"), None, None, Action.NOTHING),
    ],
)
def test_reconcile_follows_the_table(known: Known | None, local: Local, remote: Known | None, action: Action) -> None:
    assert reconcile(known, local, remote) is action


def test_no_local_content_is_ever_overwritten_or_removed_unless_it_was_committed_or_is_kept() -> None:
    for known, local, remote in itertools.product(KNOWN, LOCAL, REMOTE):
        action = reconcile(known, local, remote)
        if action in (Action.APPLY, Action.REMOVE) and isinstance(local, str):
            assert known is not None
            assert local == known.digest


def test_reconcile_never_offers_a_delete() -> None:
    for known, remote in itertools.product(KNOWN, REMOTE):
        assert reconcile(known, None, remote) is not Action.OFFER


def test_follow_passes_over_what_this_node_committed_itself() -> None:
    assert follow(Known(7, "a"), "a", Known(7, "a")) is Action.NOTHING
    assert follow(Known(9, "b"), "b", Known(7, "a")) is Action.NOTHING


def test_follow_keeps_a_local_change_that_lost() -> None:
    assert follow(Known(5, "a"), "b", Known(7, "c")) is Action.CONFLICT_APPLY
    assert follow(Known(5, "a"), "b", Known(7, None)) is Action.CONFLICT_REMOVE


def test_a_file_that_vanished_without_softhsm_is_repaired_and_one_that_softhsm_destroyed_is_offered() -> None:
    assert unexplained(Known(5, "a"), None, softhsm_wrote=False) is Action.APPLY
    assert unexplained(Known(5, "a"), None, softhsm_wrote=True) is Action.OFFER


def test_a_destroyed_file_that_reappears_is_removed_but_kept() -> None:
    assert unexplained(Known(5, None), "a", softhsm_wrote=True) is Action.CONFLICT_REMOVE
