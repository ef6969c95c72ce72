"""The faults that a test can order from the store in memory."""

from __future__ import annotations

import pytest

from keyfold.store.errors import Compacted, OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Put, Unchanged
from keyfold.store.memory import Fate, MemoryEtcd, MemoryStore


@pytest.mark.parametrize(
    ("fate", "applied", "later"),
    [
        (Fate.APPLIED_UNANSWERED, True, True),
        (Fate.LOST, False, False),
        (Fate.LATE, False, True),
    ],
)
def test_an_unknown_outcome_is_what_was_ordered(fate: Fate, applied: bool, later: bool) -> None:
    store = MemoryStore()
    store.next_txns(fate)
    with pytest.raises(OutcomeUnknown):
        store.txn([Unchanged("k", 0)], [Put("k", b"v")])
    assert (store.get("k") is not None) is applied
    store.deliver_late()
    assert (store.get("k") is not None) is later
    assert store.txn([], [Put("next", b"")]).succeeded


def test_clients_of_one_cluster_share_it_and_have_faults_of_their_own() -> None:
    etcd = MemoryEtcd()
    here, there = MemoryStore(etcd), MemoryStore(etcd)
    here.cut_off()
    with pytest.raises(StoreUnavailable):
        here.txn([], [Put("k", b"mine")])
    with pytest.raises(StoreUnavailable):
        here.scan("")
    assert not here.members()[0].healthy
    there.txn([], [Put("k", b"theirs")])
    assert here.get("k", serializable=True) == there.get("k")
    here.reconnect()
    assert here.get("k") == there.get("k")


def test_a_client_that_is_cut_off_gets_its_events_afterwards() -> None:
    etcd = MemoryEtcd()
    here, there = MemoryStore(etcd), MemoryStore(etcd)
    with here.watch("", 1) as watch:
        here.cut_off()
        revision = there.txn([], [Put("k", b"")]).revision
        here.reconnect()
        assert next(iter(watch)).revision == revision


def test_compaction_hurts_a_watch_only_once_its_connection_broke() -> None:
    store = MemoryStore()
    with store.watch("", 1) as watch:
        batches = iter(watch)
        store.txn([], [Put("k", b"1")])
        next(batches)
        for value in (b"2", b"3"):
            last = store.txn([], [Put("k", value)]).revision
        store.etcd.compact(last)
        assert next(batches).revision == last
        for value in (b"4", b"5"):
            last = store.txn([], [Put("k", value)]).revision
        store.break_watches()
        store.etcd.compact(last)
        with pytest.raises(Compacted):
            next(batches)
