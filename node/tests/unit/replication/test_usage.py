"""Figures and quota: exact in every transaction, on nodes in memory."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path

import pytest
from support.memory_cluster import Node, committed, counted, invalidated, object_file, usage

from keyfold.errors import KeyfoldError
from keyfold.store.memory import Fate, MemoryEtcd

A, B, C = "a.object", "b.object", "c.object"
SIZE = len(object_file(b"0" * 100))
MakeNode = Callable[..., Node]


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


@pytest.fixture
def node(etcd: MemoryEtcd, tmp_path: Path) -> MakeNode:
    def make(name: str = "hsm1", **options: int) -> Node:
        return Node(name, etcd, tmp_path, **options)

    return make


def key(fill: bytes = b"0", length: int = 100) -> bytes:
    return object_file(fill * length)


def test_figures_follow_every_kind_of_change(node: MakeNode) -> None:
    one = node()
    one.create(A, key())
    assert (usage(one.store).objects, usage(one.store).live_bytes) == (1, SIZE)
    one.update(A, key(length=250))
    assert usage(one.store).live_bytes == SIZE + 150
    one.destroy(A)
    assert (usage(one.store).live_bytes, usage(one.store).invalidated_bytes) == (0, SIZE + 150)
    assert usage(one.store) == counted(one.store)


def test_what_is_destroyed_after_opting_out_counts_no_more(node: MakeNode) -> None:
    one = node(key_invalidation=False)
    one.create(A, key())
    one.destroy(A)
    assert usage(one.store).total_bytes == 0


@pytest.mark.parametrize("fate", [Fate.APPLIED_UNANSWERED, Fate.LOST])
def test_figures_are_exact_after_a_lost_answer(node: MakeNode, fate: Fate) -> None:
    one = node()
    one.store.next_txns(fate)
    one.create(A, key())
    one.create(B, key())
    assert usage(one.store) == counted(one.store)


def test_nodes_that_write_by_turns_agree_on_the_figures(node: MakeNode) -> None:
    one, two = node("hsm1"), node("hsm2")
    for number in range(6):
        (one, two)[number % 2].create(f"{number}.object", key())
    assert usage(one.store) == counted(one.store)
    assert usage(one.store).objects == 6


def test_an_object_past_the_quota_is_refused_and_nothing_of_it_is_left(node: MakeNode) -> None:
    one, two = node("hsm1", max_size_bytes=2 * SIZE), node("hsm2", max_size_bytes=2 * SIZE)
    one.create(A, key())
    one.create(B, key())
    with pytest.raises(KeyfoldError) as refused:
        one.create(C, key())
    assert refused.value.code == "quota"
    two.catch_up()
    one.settle()
    assert set(one.content()) == set(two.content()) == set(committed(one.store)) == {A, B}
    assert one.kept_conflicts() == []


def test_growing_past_the_quota_is_refused_and_the_object_is_as_it_was(node: MakeNode) -> None:
    one = node(max_size_bytes=SIZE + 50)
    one.create(A, key())
    with pytest.raises(KeyfoldError, match="full"):
        one.update(A, key(length=200))
    assert one.content() == committed(one.store) == {A: key()[8:]}


def test_invalidated_objects_count_and_destroying_is_never_refused(node: MakeNode) -> None:
    one = node(max_size_bytes=SIZE)
    one.create(A, key())
    one.destroy(A)
    with pytest.raises(KeyfoldError, match="invalidated"):
        one.create(B, key())
    assert set(invalidated(one.store)) == {A}


def test_a_partition_over_a_lowered_quota_may_change_and_destroy_but_not_grow(node: MakeNode) -> None:
    one = node()
    one.create(A, key())
    one.replica.max_size_bytes = 10
    one.update(A, key(b"1"))
    with pytest.raises(KeyfoldError, match="full"):
        one.create(B, key())
    one.destroy(A)


def test_two_nodes_racing_at_the_limit_never_pass_it(node: MakeNode) -> None:
    room = 7
    nodes = [node(f"hsm{number}", max_size_bytes=room * SIZE) for number in (1, 2, 3)]
    refused: list[str] = []
    start = threading.Barrier(len(nodes))

    def fill(one: Node) -> None:
        start.wait()
        for number in range(room):
            try:
                one.create(f"{one.name}-{number}.object", key())
            except KeyfoldError as error:
                refused.append(error.code)

    threads = [threading.Thread(target=fill, args=(one,)) for one in nodes]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert usage(nodes[0].store) == counted(nodes[0].store)
    assert usage(nodes[0].store).objects == room
    assert refused == ["quota"] * (room * len(nodes) - room)
    for one in nodes:
        one.catch_up()
        assert set(one.content()) == set(committed(one.store))


def test_room_that_another_node_made_is_seen_before_a_refusal(node: MakeNode) -> None:
    one, two = (node(name, max_size_bytes=SIZE, key_invalidation=False) for name in ("hsm1", "hsm2"))
    one.create(A, key())
    two.catch_up()
    two.destroy(A)
    one.catch_up()
    one.create(B, key())
    assert set(committed(one.store)) == {B}


def test_objects_together_larger_than_a_transaction_are_destroyed_in_several(node: MakeNode) -> None:
    one = node()
    for number in range(5):
        one.create(f"{number}.object", key(length=400_000))
    one.directory.bump()
    for number in range(5):
        one.softhsm_destroys(f"{number}.object")
    one.replica.commit("update", [], "test")
    assert len(invalidated(one.store)) == 5
    assert usage(one.store) == counted(one.store)
