"""Invariants 1 to 8 of design §5, on nodes in memory."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from support.memory_cluster import PARTITION, TORN, Node, committed, invalidated, object_file

from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.base import Base
from keyfold.store.errors import StoreUnavailable
from keyfold.store.interface import Event
from keyfold.store.memory import Fate, MemoryEtcd

A, B = "a.object", "b.object"
MakeNode = Callable[..., Node]


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


@pytest.fixture
def node(etcd: MemoryEtcd, tmp_path: Path) -> MakeNode:
    def make(name: str = "hsm1", **options: bool) -> Node:
        return Node(name, etcd, tmp_path, **options)

    return make


def test_a_commit_is_in_etcd_when_it_returns_and_then_on_the_other_node(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    assert committed(one.store) == one.content()
    two.catch_up()
    assert two.content() == one.content()


def test_both_halves_of_a_pair_land_at_one_revision(node: MakeNode) -> None:
    one = node()
    one.softhsm_writes(A, object_file(b"public", object_class=2))
    one.softhsm_writes(B, object_file(b"private", object_class=3))
    one.replica.commit("create", [{"class": 2}, {"class": 3, "label": "6b"}], "test")
    items = list(one.store.scan("/keyfold/v1/objects/acme/"))
    assert len({item.mod_revision for item in items}) == 1
    assert len(items) == 2


def test_a_running_process_is_told_of_remote_changes_by_the_generation(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    before = two.directory.generation()
    one.create(A, object_file(b"1"))
    two.catch_up()
    assert two.directory.generation() > before


def test_the_local_generation_of_an_object_is_no_change(node: MakeNode) -> None:
    one = node()
    revision = one.create(A, object_file(b"1", generation=1))
    assert one.update(A, object_file(b"1", generation=9)) == revision


@pytest.mark.parametrize("fate", [Fate.UNAVAILABLE, Fate.FULL])
def test_a_commit_that_etcd_refused_is_undone(node: MakeNode, fate: Fate) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    for attempt in (
        lambda: one.create(B, object_file(b"2")),
        lambda: one.update(A, object_file(b"changed")),
        lambda: one.destroy(A),
    ):
        one.store.next_txns(fate)
        with pytest.raises(StoreUnavailable):
            attempt()
        assert one.content() == {A: object_file(b"1")[8:]}
    one.settle()
    assert committed(one.store) == one.content()


def test_an_answer_that_got_lost_after_the_commit_still_means_ok(node: MakeNode) -> None:
    one = node()
    one.store.next_txns(Fate.APPLIED_UNANSWERED)
    one.create(A, object_file(b"1"))
    assert committed(one.store) == one.content() == {A: object_file(b"1")[8:]}


def test_a_transaction_that_got_lost_is_repeated(node: MakeNode) -> None:
    one = node()
    one.store.next_txns(Fate.LOST)
    one.create(A, object_file(b"1"))
    assert committed(one.store) == one.content()


def test_of_two_concurrent_updates_one_gets_an_error_and_both_nodes_have_the_other(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    one.update(A, object_file(b"from one"))
    with pytest.raises(KeyfoldError) as lost:
        two.update(A, object_file(b"from two"))
    assert lost.value.code == "conflict"
    two.catch_up()
    one.catch_up()
    assert one.content() == two.content() == {A: object_file(b"from one")[8:]}


def test_of_several_changes_that_arrive_together_the_last_one_counts_and_none_is_a_conflict(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    revision = one.create(A, object_file(b"1"))
    one.update(A, object_file(b"2"))
    last = one.update(A, object_file(b"3"))
    with two.store.watch(keys.live(PARTITION, A), revision) as watch:
        events: list[Event] = []
        for batch in watch:
            events += batch.events
            if batch.revision >= last:
                break
    two.replica.follow(last, tuple(events))
    assert len(events) == 3
    assert (two.content(), two.kept_conflicts()) == ({A: object_file(b"3")[8:]}, [])


def test_many_objects_from_elsewhere_are_on_disk_before_they_are_remembered(
    node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, two = node("hsm1"), node("hsm2")
    for number in range(20):
        one.softhsm_writes(f"{number}.object", object_file(b"x"))
    one.settle()
    known: list[int] = []
    monkeypatch.setattr(two.directory, "sync", lambda: known.append(len(two.base.known(PARTITION))))
    two.catch_up()
    assert (known, len(two.base.known(PARTITION))) == ([0], 20)


def test_a_destroyed_object_is_gone_everywhere_and_kept_as_invalidated(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    two.destroy(A)
    one.catch_up()
    assert one.content() == two.content() == committed(one.store) == {}
    assert invalidated(one.store) == {A: object_file(b"1")[8:]}


def test_a_partition_that_opted_out_keeps_nothing(node: MakeNode) -> None:
    one = node(key_invalidation=False)
    one.create(A, object_file(b"1"))
    one.destroy(A)
    assert invalidated(one.store) == committed(one.store) == {}


def test_a_destroyed_file_that_reappears_after_a_crash_does_not_come_back_to_life(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.destroy(A)
    one.directory.put(A, object_file(b"1"))
    one.start()
    assert one.content() == committed(one.store) == {}
    assert len(one.kept_conflicts()) == 1


def test_a_change_made_without_the_module_is_picked_up(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.softhsm_writes(A, object_file(b"direct", object_class=2, label=b"direct"))
    one.settle()
    two.catch_up()
    assert two.content() == one.content() == {A: object_file(b"direct", object_class=2, label=b"direct")[8:]}
    one.softhsm_destroys(A)
    one.settle()
    assert committed(one.store) == {}
    assert A in invalidated(one.store)


def test_what_is_destroyed_without_the_module_while_another_change_is_being_offered_stays_destroyed(
    node: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = node()
    one.softhsm_writes(A, object_file(b"1"))
    one.settle()
    one.softhsm_writes(B, object_file(b"2"))
    txn = one.store.txn

    def destroyed_meanwhile(*arguments: object, **options: object) -> object:
        monkeypatch.undo()
        result = txn(*arguments, **options)  # type: ignore[arg-type]
        one.softhsm_destroys(A)
        return result

    monkeypatch.setattr(one.store, "txn", destroyed_meanwhile)
    one.settle()
    one.settle()
    assert set(committed(one.store)) == set(one.content()) == {B}


def test_while_a_module_call_is_in_flight_nothing_is_taken_for_unexplained(node: MakeNode) -> None:
    one = node()
    with one.locks.create(1):
        one.softhsm_writes(A, object_file(b"half done"))
        one.settle()
        assert committed(one.store) == {}


def test_files_wiped_from_the_disk_are_repaired_not_destroyed(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.directory.remove(A)
    one._pending.append(A)
    one.settle()
    assert one.content() == committed(one.store) == {A: object_file(b"1")[8:]}
    assert invalidated(one.store) == {}


@pytest.mark.parametrize("restart", [True, False])
def test_a_torn_file_is_repaired(node: MakeNode, restart: bool) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.directory.put(A, TORN)
    one._pending.append(A)
    if restart:
        one.start()
    else:
        one.settle()
    assert one.content() == {A: object_file(b"1")[8:]}


def test_lost_inotify_events_are_made_good_by_comparing_everything(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.directory.put(A, object_file(b"changed"))
    one.directory.put(B, object_file(b"2"))
    one.directory.bump()
    one._pending.append("")
    one.settle()
    assert committed(one.store) == one.content() == {A: object_file(b"changed")[8:], B: object_file(b"2")[8:]}


def test_a_commit_finds_its_new_object_even_if_the_event_was_lost(node: MakeNode) -> None:
    one = node()
    one.directory.put(A, object_file(b"1"))
    one.replica.commit("create", [{"class": 4}], "test")
    assert committed(one.store) == one.content()


def test_a_commit_never_says_ok_for_an_object_it_did_not_find(node: MakeNode) -> None:
    one = node()
    with pytest.raises(KeyfoldError, match="announced"):
        one.replica.commit("create", [{"class": 4}], "test")


def test_a_node_that_was_away_catches_up_and_offers_what_nobody_acknowledged(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    two.store.cut_off()
    two.directory.put(B, object_file(b"unacknowledged"))
    one.update(A, object_file(b"newer"))
    two.store.reconnect()
    two.start()
    one.catch_up()
    assert one.content() == two.content() == {A: object_file(b"newer")[8:], B: object_file(b"unacknowledged")[8:]}
    assert two.kept_conflicts() == []


def test_a_local_change_that_lost_while_the_node_was_away_is_kept_under_conflicts(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    two.directory.put(A, object_file(b"lost"))
    one.update(A, object_file(b"won"))
    two.start()
    assert two.content() == {A: object_file(b"won")[8:]}
    (kept,) = two.kept_conflicts()
    assert kept.read_bytes()[8:] == object_file(b"lost")[8:]


def test_losing_the_base_loses_nothing(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    one.update(A, object_file(b"2"))
    two.base.forget("acme", [A])
    two.start()
    assert two.content() == one.content()


def test_a_remote_change_to_an_object_waits_for_a_module_call_in_flight(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.catch_up()
    one.update(A, object_file(b"2"))
    with two.locks.update(1):
        two.catch_up()
        assert two.content() == {A: object_file(b"1")[8:]}
        assert two.replica.waiting > 0
    two.replica.advance()
    assert two.content() == {A: object_file(b"2")[8:]}


def test_a_new_remote_object_does_not_wait_for_a_call_in_flight_but_is_announced_again_after_it(
    node: MakeNode,
) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    with two.locks.create(1):
        two.catch_up()
        assert A in two.content()
        during = two.directory.generation()
    two.settle()
    assert two.directory.generation() > during


def test_a_full_disk_holds_a_remote_change_back_until_there_is_room(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    one.create(A, object_file(b"1"))
    two.directory.disk_full = True
    two.catch_up()
    assert two.content() == {}
    assert "space" in two.replica.problem
    two.directory.disk_full = False
    two.replica.advance()
    assert two.content() == one.content()
    assert two.replica.problem == ""


def test_many_offers_fit_into_etcds_transactions(node: MakeNode) -> None:
    one = node()
    for number in range(150):
        one.directory.put(f"{number:03}.object", object_file(b"%d" % number))
    one.start()
    assert committed(one.store) == one.content()
    assert len(one.content()) == 150


def test_labels_of_private_objects_come_from_the_module_and_survive_updates(node: MakeNode) -> None:
    one = node()
    one.softhsm_writes(A, object_file(b"1", object_class=3))
    one.replica.commit("create", [{"class": 3, "label": "6c6162656c", "id": "01"}], "test")
    one.update(A, object_file(b"2", object_class=3))
    content = one.base.content("acme", A)
    assert content is not None
    assert (content.meta["label"], content.meta["id"]) == ("6c6162656c", "01")


def test_processes_are_told_again_after_a_local_creation_or_destruction(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    for change in (lambda: one.create(B, object_file(b"2")), lambda: one.destroy(B)):
        change()
        after_the_call = one.directory.generation()
        one.settle()
        assert one.directory.generation() > after_the_call


def test_many_objects_destroyed_at_once_are_all_kept_as_invalidated(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    files = [f"{number:03}.object" for number in range(150)]
    for file in files:
        one.softhsm_writes(file, object_file(file.encode()))
    one.settle()
    two.catch_up()
    with one.locks.update(1):
        for file in files:
            one.softhsm_destroys(file)
        one.replica.commit("update", [], "test")
    two.catch_up()
    assert one.content() == two.content() == committed(one.store) == {}
    assert sorted(invalidated(one.store)) == files


@pytest.mark.parametrize("restart", [True, False])
def test_a_token_directory_removed_as_a_whole_is_made_again_and_destroys_nothing(node: MakeNode, restart: bool) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.create(B, object_file(b"2"))
    before = one.content()
    one.directory.wipe()
    one._pending.append("")
    if restart:
        one.start()
    else:
        one.settle()
    assert one.content() == committed(one.store) == before
    assert invalidated(one.store) == {}


@pytest.mark.parametrize("key_invalidation", [True, False])
def test_a_node_that_lost_its_base_does_not_offer_back_what_was_destroyed_meanwhile(
    node: MakeNode, key_invalidation: bool
) -> None:
    one = node("hsm1", key_invalidation=key_invalidation)
    two = node("hsm2", key_invalidation=key_invalidation)
    one.create(A, object_file(b"1"))
    two.catch_up()
    one.destroy(A)
    two.base = Base(":memory:")
    two.start()
    assert two.content() == committed(two.store) == {}
    assert len(two.kept_conflicts()) == 1


def test_what_was_purged_leaves_no_copy_on_a_node_not_even_of_a_file_that_turns_up_again(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.destroy(A)
    one.directory.put(A, object_file(b"1"))
    one.start()
    assert len(one.kept_conflicts()) == 1
    one.replica.purged([A])
    assert one.kept_conflicts() == []
    one.directory.put(A, object_file(b"1"))
    one._pending.append(A)
    one.settle()
    assert one.content() == {}
    assert one.kept_conflicts() == []


def test_a_purged_file_that_turns_up_while_the_node_remembers_its_destruction_leaves_no_copy(node: MakeNode) -> None:
    one = node()
    one.create(A, object_file(b"1"))
    one.destroy(A)
    one.replica.purged([A])
    one.softhsm_writes(A, object_file(b"1"))
    one.settle()
    assert one.content() == committed(one.store) == {}
    assert one.kept_conflicts() == []


def test_what_a_backup_brought_back_after_a_purge_is_an_ordinary_object_again(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    two.replica.purged([A])
    one.create(A, object_file(b"1"))
    two.replica.purged([], these_alone=True)
    two.start()
    two.softhsm_writes(A, object_file(b"changed without the module"))
    two.settle()
    one.catch_up()
    assert one.content() == two.content() == {A: object_file(b"changed without the module")[8:]}
