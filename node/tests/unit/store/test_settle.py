"""Carrying a transaction through to a known outcome."""

from __future__ import annotations

import pytest

from keyfold.store import settle as module
from keyfold.store.errors import LeaseGone, OutcomeUnknown, StoreFull, StoreUnavailable
from keyfold.store.interface import Delete, KeyValue, Op, Put, Unchanged
from keyfold.store.memory import Fate, MemoryStore
from keyfold.store.settle import settle

SECONDS = 5.0


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PAUSE_SECONDS", 0.0)


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


def mine(key: str = "k", value: bytes = b"mine") -> tuple[list[Unchanged], list[Op]]:
    return [Unchanged(key, 0)], [Put(key, value)]


def found(store: MemoryStore, key: str) -> KeyValue:
    kv = store.get(key)
    assert kv is not None
    return kv


def test_a_plain_success_and_a_plain_loss_are_the_transactions_own(store: MemoryStore) -> None:
    won = settle(store, *mine(), timeout_seconds=SECONDS)
    assert (won.succeeded, won.revision) == (True, store.revision())
    lost = settle(store, *mine(value=b"second"), timeout_seconds=SECONDS)
    assert not lost.succeeded
    assert lost.current == {"k": found(store, "k")}


def test_equal_bytes_of_someone_else_are_no_success_without_doubt(store: MemoryStore) -> None:
    store.txn(*mine())
    assert not settle(store, *mine(), timeout_seconds=SECONDS).succeeded


@pytest.mark.parametrize("fate", [Fate.APPLIED_UNANSWERED, Fate.LOST])
def test_an_answer_that_was_lost_is_found_out_and_the_write_happens_once(store: MemoryStore, fate: Fate) -> None:
    store.next_txns(fate)
    result = settle(store, *mine(), timeout_seconds=SECONDS)
    assert result.succeeded
    assert (found(store, "k").version, found(store, "k").mod_revision) == (1, result.revision)


def test_a_transaction_that_arrives_late_is_not_applied_any_more(store: MemoryStore) -> None:
    store.next_txns(Fate.LATE)
    assert settle(store, *mine(), timeout_seconds=SECONDS).succeeded
    store.deliver_late()
    assert found(store, "k").version == 1


def test_lost_to_someone_else_while_in_doubt_is_lost(store: MemoryStore) -> None:
    store.next_txns(Fate.LATE)
    MemoryStore(store.etcd).txn(*mine(value=b"theirs"))
    result = settle(store, *mine(), timeout_seconds=SECONDS)
    store.deliver_late()
    assert not result.succeeded
    assert found(store, "k").value == b"theirs"


def test_both_halves_are_needed_to_recognise_ones_own_transaction(store: MemoryStore) -> None:
    compares = [Unchanged("a", 0), Unchanged("b", 0)]
    store.next_txns(Fate.LOST)
    MemoryStore(store.etcd).txn([], [Put("a", b"1"), Put("b", b"theirs")])
    assert not settle(store, compares, [Put("a", b"1"), Put("b", b"2")], timeout_seconds=SECONDS).succeeded


def test_the_same_values_written_one_by_one_are_not_ones_own_transaction(store: MemoryStore) -> None:
    compares = [Unchanged("a", 0), Unchanged("b", 0)]
    ops = [Put("a", b"1"), Put("b", b"2")]
    store.next_txns(Fate.LOST)
    other = MemoryStore(store.etcd)
    for op in ops:
        other.txn([], [op])
    assert not settle(store, compares, ops, timeout_seconds=SECONDS).succeeded


def test_a_delete_in_doubt_succeeds_once_the_key_is_gone(store: MemoryStore) -> None:
    revision = store.txn(*mine()).revision
    store.next_txns(Fate.APPLIED_UNANSWERED)
    assert settle(store, [Unchanged("k", revision)], [Delete("k")], timeout_seconds=SECONDS).succeeded
    revision = store.txn(*mine()).revision
    store.next_txns(Fate.LOST)
    MemoryStore(store.etcd).txn([], [Put("k", b"theirs")])
    assert not settle(store, [Unchanged("k", revision)], [Delete("k")], timeout_seconds=SECONDS).succeeded


def test_surely_not_done_stays_surely_not_done(store: MemoryStore) -> None:
    store.next_txns(Fate.UNAVAILABLE)
    with pytest.raises(StoreUnavailable):
        settle(store, *mine(), timeout_seconds=SECONDS)
    store.next_txns(Fate.FULL)
    with pytest.raises(StoreFull):
        settle(store, *mine(), timeout_seconds=SECONDS)
    assert store.get("k") is None


def test_a_repetition_that_cannot_be_done_does_not_hide_the_doubt(store: MemoryStore) -> None:
    store.next_txns(Fate.APPLIED_UNANSWERED, Fate.UNAVAILABLE, Fate.UNAVAILABLE)
    assert settle(store, *mine(), timeout_seconds=SECONDS).succeeded
    assert found(store, "k").version == 1


def test_doubt_is_told_when_the_time_is_up(store: MemoryStore) -> None:
    store.next_txns(Fate.LATE)
    store.next_txns(*[Fate.UNAVAILABLE] * 100_000)
    with pytest.raises(OutcomeUnknown):
        settle(store, *mine(), timeout_seconds=0.05)


def test_a_lease_that_ended_meanwhile_settles_it_as_not_done(store: MemoryStore) -> None:
    lease = store.grant(60)
    store.next_txns(Fate.LOST)
    store.revoke(lease)
    with pytest.raises(LeaseGone):
        settle(store, [Unchanged("k", 0)], [Put("k", b"", lease)], timeout_seconds=SECONDS)


def test_keys_written_without_a_compare_come_along(store: MemoryStore) -> None:
    store.next_txns(Fate.APPLIED_UNANSWERED)
    compares, ops = mine()
    result = settle(store, compares, [*ops, Put("audit", b"")], timeout_seconds=SECONDS)
    assert (result.succeeded, result.revision) == (True, found(store, "audit").mod_revision)
    assert found(store, "audit").version == 1


def test_a_transaction_that_could_be_applied_twice_is_a_defect(store: MemoryStore) -> None:
    with pytest.raises(ValueError, match="compares a key"):
        settle(store, [Unchanged("a", 0)], [Put("b", b"")], timeout_seconds=SECONDS)
