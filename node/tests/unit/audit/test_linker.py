"""Whatever happens to the writers, the chain has every note once, in the order of the transactions."""

from __future__ import annotations

import contextlib
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from support.audit import CLUSTER, link_all, linker, prove, write
from support.clocks import StillClock
from support.memory_cluster import SEALER

from keyfold.audit import read
from keyfold.audit.linker import MARKER_SECONDS, NOTES_PER_TRANSACTION
from keyfold.audit.note import MAX_NOTE_BYTES, committed_at, markers, note
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.changes import Change
from keyfold.replication.publish import Publisher
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Ledger
from keyfold.store.errors import OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Delete, Put, TxnResult
from keyfold.store.memory import Fate, MemoryEtcd, MemoryStore


def test_notes_are_linked_in_the_order_of_their_transactions_not_of_their_clocks() -> None:
    store, clock = MemoryStore(), StillClock()
    write(store, 0, clock)
    clock.advance(-3600)
    write(store, 1, clock)
    link_all(store)
    assert [entry["number"] for entry in prove(store)] == [0, 1]


def test_a_linked_note_is_not_pending_any_more() -> None:
    store = MemoryStore()
    write(store, 0)
    assert linker(store).link(CLUSTER) == 1
    assert linker(store).link(CLUSTER) == 0
    assert list(store.scan(keys.AUDIT_PENDING)) == []


def test_many_and_large_notes_stay_within_etcds_limits() -> None:
    store = MemoryStore()
    for number in range(2 * NOTES_PER_TRANSACTION + 1):
        write(store, number)
    for number in range(30):
        write(store, 1000 + number, text="x" * (MAX_NOTE_BYTES - 300))
    link_all(store)
    assert len(prove(store)) == 2 * NOTES_PER_TRANSACTION + 31


def test_two_notes_of_one_transaction_are_both_linked_across_the_limit_of_a_batch() -> None:
    store = MemoryStore()
    puts = [note(StillClock(), "hsm1", what="t", who="t", number=n) for n in range(NOTES_PER_TRANSACTION + 5)]
    store.txn((), puts)
    link_all(store)
    assert sorted(entry["number"] for entry in prove(store)) == list(range(NOTES_PER_TRANSACTION + 5))


@pytest.mark.parametrize("fate", list(Fate))
def test_whatever_becomes_of_a_linking_transaction_nothing_is_lost_or_doubled(fate: Fate) -> None:
    store = MemoryStore()
    write(store, 0)
    one = linker(store)
    one.link(CLUSTER)
    write(store, 1)
    store.next_txns(fate)
    with pytest.raises(StoreUnavailable if fate in (Fate.UNAVAILABLE, Fate.FULL) else OutcomeUnknown):
        one.link(CLUSTER)
    write(store, 2)
    link_all(store)
    store.deliver_late()
    write(store, 3)
    link_all(store)
    assert [entry["number"] for entry in prove(store)] == [0, 1, 2, 3]


class Interrupted(Exception):
    """The writer is killed here."""


@pytest.mark.exhaustive
@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32))
def test_writers_that_race_crash_and_lose_answers_never_fork_lose_or_double(seed: int) -> None:
    """Two writers stop between reading and writing while others go on; transactions are lost, late or unanswered."""
    rng, etcd = random.Random(seed), MemoryEtcd()
    client, writers = MemoryStore(etcd), [MemoryStore(etcd) for _ in range(3)]
    written = 0

    def somebody_else(messages: object, epoch: int) -> None:
        """In the middle of one writer's step: others write notes, link, or kill it."""
        nonlocal written
        for _ in range(rng.randrange(4)):
            choice = rng.randrange(4)
            if choice == 0:
                write(client, written)
                written += 1
            elif choice == 1:
                step(rng.choice(writers), interrupted=False)
            elif choice == 2:
                rng.choice(writers).deliver_late()
            elif rng.random() < 0.3:
                raise Interrupted

    def step(store: MemoryStore, *, interrupted: bool) -> None:
        one = linker(store)
        if interrupted:
            sign = one._sign

            def signs(messages: object, epoch: int) -> list[bytes]:
                somebody_else(messages, epoch)
                return sign(messages, epoch)  # type: ignore[arg-type]

            one._sign = signs
        if rng.random() < 0.4:
            store.next_txns(rng.choice(list(Fate)))
        with contextlib.suppress(Interrupted, StoreUnavailable, OutcomeUnknown):
            one.link(CLUSTER)

    for _ in range(25):
        write(client, written)
        written += 1
        step(rng.choice(writers), interrupted=True)
    for store in writers:
        store.deliver_late()
        store._fates.clear()
    link_all(client)
    assert [entry["number"] for entry in prove(client)] == list(range(written))


def test_an_entry_beyond_the_head_stops_the_chain_and_is_named() -> None:
    store = MemoryStore()
    write(store, 0)
    link_all(store)
    store.txn((), [Delete(keys.AUDIT_HEAD)])
    write(store, 1)
    with pytest.raises(KeyfoldError, match="entry 1 exists, the head says 0") as caught:
        linker(store).link(CLUSTER)
    assert caught.value.code == "refused"
    assert len(list(store.scan(keys.AUDIT_PENDING))) == 1


@pytest.mark.parametrize(
    "value", [b"", b"{", b"\xff\xfe", b"[1]", b'{"a":1.5}', b'{"\xc3\xa9":1}', b'{"a":"\\ud800"}', b"[" * 100_000]
)
def test_what_is_no_note_becomes_an_entry_that_says_so(value: bytes) -> None:
    store = MemoryStore()
    store.txn((), [Put(keys.AUDIT_PENDING + "stray", value)])
    write(store, 1)
    link_all(store)
    first, second = prove(store)
    assert (first["what"], first["size"], second["number"]) == ("unreadable note", len(value), 1)


def test_a_commit_whose_answer_was_lost_learns_its_revision_also_after_linking() -> None:
    store = MemoryStore()
    put = note(StillClock(), "hsm1", what="t", who="t")
    revision = store.txn(markers(put), [put]).revision
    again = store.txn(markers(put), [put])
    assert (again.succeeded, committed_at(put, again.current)) == (False, revision)
    link_all(store)
    again = store.txn(markers(put), [put])
    assert (again.succeeded, committed_at(put, again.current)) == (False, revision)
    never = note(StillClock(), "hsm1", what="t", who="t")
    assert committed_at(never, {never.key: None}) is None


def test_the_trace_of_a_linked_note_goes_after_a_while_and_not_before() -> None:
    seconds = 0.0
    etcd = MemoryEtcd(lambda: seconds)
    store = MemoryStore(etcd)
    write(store, 0)
    link_all(store)
    seconds = MARKER_SECONDS - 61.0
    assert len(list(store.scan(keys.AUDIT_LINKED))) == 1
    seconds = MARKER_SECONDS + 1.0
    assert list(store.scan(keys.AUDIT_LINKED)) == []
    assert len(prove(store)) == 1


def test_what_waits_is_counted_with_its_age() -> None:
    store, clock = MemoryStore(), StillClock()
    assert read.summary(store, clock.utc()) == {"entries": 0, "pending": 0, "oldest_pending_seconds": None}
    write(store, 0)
    link_all(store)
    write(store, 1)
    clock.advance(42)
    write(store, 2, clock)
    assert read.summary(store, clock.utc()) == {"entries": 1, "pending": 2, "oldest_pending_seconds": 42.0}


def test_a_key_whose_commit_went_unanswered_is_not_made_twice_although_its_note_was_linked_meanwhile() -> None:
    """Made, unanswered, linked, destroyed for good by another node; then the commit is repeated."""
    etcd = MemoryEtcd()
    store, other = MemoryStore(etcd), MemoryStore(etcd)
    publisher, elsewhere = (
        Publisher(Ledger(one, "acme", lambda: None), SEALER, StillClock(), "hsm1", "acme") for one in (store, other)
    )
    made = Change("k.object", 0, StoredObject({}, b"key"), "d")
    attempts = iter(range(9))

    def txn(compares: object, ops: object, **options: object) -> TxnResult:
        if next(attempts) == 0:
            applied = etcd.txn(compares, ops).revision  # type: ignore[arg-type]
            link_all(other)
            gone = Change("k.object", applied, None, None)
            elsewhere.publish([gone], what="t", caller="t", before={}, keep_destroyed=False, timeout_seconds=1)
            raise OutcomeUnknown("the answer is lost")
        return etcd.txn(compares, ops)  # type: ignore[arg-type]

    store.txn = txn  # type: ignore[method-assign]
    revision = publisher.publish([made], what="t", caller="t", before={}, keep_destroyed=False, timeout_seconds=5)
    assert store.get(keys.live("acme", "k.object")) is None
    assert revision < store.revision()
    link_all(other)
    assert len(prove(other)) == 2
