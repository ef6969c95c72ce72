"""Who gets to guess, over several nodes in memory."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta
from typing import Any

import pytest
from support.clocks import StillClock

from keyfold.errors import KeyfoldError
from keyfold.lockout.guard import PLACES, Guard
from keyfold.lockout.state import Limits
from keyfold.replication import keys
from keyfold.store.memory import Fate, MemoryEtcd, MemoryStore

POLICY: dict[str, Any] = {"max_failures": 20, "window_seconds": 300, "lock_seconds": 300}


class Node:
    def __init__(self, name: str, etcd: MemoryEtcd, clock: Any, policy: dict[str, Any] = POLICY) -> None:
        self.store = MemoryStore(etcd)
        self.guard = Guard(self.store, clock, name, lambda _: policy)
        self._seen = 1

    def guess(self, user: str = "user", *, ok: bool = False) -> bool:
        """Whether the guess was let through to SoftHSM."""
        try:
            attempt = self.guard.begin("acme", user, "test")
        except KeyfoldError as error:
            if error.code != "locked":
                raise
            return False
        if ok:
            self.guard.succeeded(attempt)
        else:
            self.guard.failed(attempt)
        return True

    def catch_up(self) -> None:
        target = self.store.revision()
        with self.store.watch(keys.LOGINS, self._seen + 1) as watch:
            for batch in watch:
                for event in batch.events:
                    self.guard.follow(event)
                self._seen = batch.revision
                if batch.revision >= target:
                    return


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


def guesses(nodes: list[Node], each: int) -> int:
    """How many of `each` guesses per node, by turns, were let through."""
    return sum(node.guess() for _ in range(each) for node in nodes)


def test_the_login_locks_after_max_failures_and_is_free_again_after_lock_seconds(
    etcd: MemoryEtcd, clock: StillClock
) -> None:
    node = Node("hsm1", etcd, clock)
    assert guesses([node], 40) == 20
    clock.advance(299)
    assert not node.guess()
    clock.advance(2)
    assert node.guess()


def test_failures_on_all_nodes_count_together(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    for _ in range(10):
        one.guess()
        two.guess()
    one.catch_up()
    two.catch_up()
    assert not one.guess()
    assert not two.guess()


def test_user_and_security_officer_are_counted_apart(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm1", etcd, clock)
    guesses([node], 20)
    assert not node.guess("user")
    assert node.guess("so")


def test_a_successful_login_writes_nothing_to_etcd_and_forgives_nothing(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm1", etcd, clock)
    before = node.store.revision()
    for _ in range(100):
        assert node.guess(ok=True)
    assert node.store.revision() == before
    for _ in range(19):
        node.guess()
    assert node.guess(ok=True)
    assert node.guess()
    assert not node.guess(ok=True)


@pytest.mark.parametrize("count", [1, 3])
def test_five_hundred_connections_at_once_get_no_more_guesses_than_the_stated_bound(
    count: int, etcd: MemoryEtcd, clock: StillClock
) -> None:
    nodes = [Node(f"hsm{number}", etcd, clock) for number in range(count)]
    start = threading.Barrier(50)

    def attack(number: int) -> int:
        start.wait()
        return sum(nodes[number % count].guess() for _ in range(10))

    with ThreadPoolExecutor(50) as pool:
        let_through = sum(pool.map(attack, range(50)))
    assert POLICY["max_failures"] <= let_through <= POLICY["max_failures"] + (count - 1) * PLACES


def test_a_login_in_flight_holds_a_place_and_counts_as_a_failure_until_it_is_known(
    etcd: MemoryEtcd, clock: StillClock
) -> None:
    node = Node("hsm1", etcd, clock, {**POLICY, "max_failures": 3})
    held = [node.guard.begin("acme", "user", "test") for _ in range(3)]
    waiting = threading.Thread(target=lambda: results.append(node.guess(ok=True)))
    results: list[bool] = []
    waiting.start()
    waiting.join(0.05)
    assert waiting.is_alive()
    node.guard.succeeded(held[0])
    waiting.join(5)
    assert results == [True]


def test_when_all_places_stay_taken_the_login_is_refused_and_not_for_ever(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm1", etcd, clock)
    for _ in range(PLACES):
        node.guard.begin("acme", "user", "test")
    clock_moves = threading.Timer(0.05, clock.advance, (6,))
    clock_moves.start()
    with pytest.raises(KeyfoldError) as busy:
        node.guard.begin("acme", "user", "test")
    assert busy.value.code == "conflict"
    clock.advance(31)
    assert node.guess(ok=True)
    assert node.guard._logins["acme", "user"].failures.recent(clock.monotonic(), Limits.of(POLICY)) == PLACES


def test_without_a_majority_the_nodes_own_count_goes_on_and_is_told_later(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    guesses([one], 15)
    two.catch_up()
    one.store.cut_off()
    assert guesses([one], 10) == 5
    one.store.reconnect()
    clock.advance(301)
    guesses([one], 19)
    two.catch_up()
    assert two.guess()
    one.catch_up()
    assert not one.guess()


def test_failures_that_etcd_was_not_told_go_there_with_the_next_one(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    one.store.next_txns(*[Fate.UNAVAILABLE] * 18)
    guesses([one], 19)
    two.catch_up()
    assert guesses([two], 5) == 1


def test_a_lock_is_recorded_once_and_lifted_by_the_operator_on_every_node(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    guesses([one], 30)
    two.catch_up()
    assert not two.guess()
    assert two.guard.unlock("acme", ("user", "so"), "operator") == ["user"]
    one.catch_up()
    assert one.guess(ok=True)
    assert two.guess(ok=True)
    assert two.guard.unlock("acme", ("user", "so"), "operator") == []
    notes = [item.value for item in one.store.scan(keys.AUDIT_PENDING)]
    assert sum(b"login locked" in value for value in notes) == 1
    assert sum(b"login unlocked" in value for value in notes) == 1


def test_a_node_that_starts_knows_the_locks_there_are(etcd: MemoryEtcd, clock: StillClock) -> None:
    guesses([Node("hsm1", etcd, clock)], 20)
    fresh = Node("hsm2", etcd, clock)
    fresh.guard.level()
    assert not fresh.guess()


def test_a_jump_of_the_wall_clock_neither_lifts_a_lock_nor_prolongs_it(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    guesses([one], 20)
    clock.now += timedelta(days=400)
    two.catch_up()
    assert not one.guess()
    assert not two.guess()
    clock.now -= timedelta(days=800)
    clock.advance(301)
    assert one.guess()
    two.catch_up()
    assert two.guess()


def test_an_unlock_that_this_node_has_not_heard_of_does_not_stop_the_count(etcd: MemoryEtcd, clock: StillClock) -> None:
    one, two = Node("hsm1", etcd, clock), Node("hsm2", etcd, clock)
    one.guess()
    two.catch_up()
    two.guard.unlock("acme", ("user",), "operator")
    assert guesses([one], 30) == 20
