"""What every Store promises (keyfold/store/interface.py), on memory and on a real etcd."""

from __future__ import annotations

import itertools
import json
import os
import threading
import urllib.request
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest
from support.etcd_server import EtcdCluster, etcd_cluster

from keyfold.errors import KeyfoldError
from keyfold.store import Store, open_store
from keyfold.store.errors import Compacted, LeaseGone, TooLarge
from keyfold.store.interface import Batch, Delete, Event, KeyValue, Put, Unchanged, Watch
from keyfold.store.memory import MemoryEtcd, MemoryStore

_numbers = itertools.count(1)


class Backend(ABC):
    """An implementation, and what the suite needs from behind its back."""

    @abstractmethod
    def open(self) -> Store:
        """Another client of the same cluster."""

    @abstractmethod
    def compact(self, revision: int) -> None: ...

    @abstractmethod
    def interrupt(self) -> None:
        """Break every connection."""

    @abstractmethod
    def let_time_pass(self, seconds: float) -> None:
        """At least so long for leases, as far as it need not be waited for."""


class Memory(Backend):
    def __init__(self) -> None:
        self._now = 0.0
        self._etcd = MemoryEtcd(clock=lambda: self._now)
        self._stores: list[MemoryStore] = []

    def open(self) -> Store:
        self._stores.append(MemoryStore(self._etcd))
        return self._stores[-1]

    def compact(self, revision: int) -> None:
        self._etcd.compact(revision)

    def interrupt(self) -> None:
        for store in self._stores:
            store.break_watches()

    def let_time_pass(self, seconds: float) -> None:
        self._now += seconds
        self._etcd.tick()


class Etcd(Backend):
    def __init__(self, cluster: EtcdCluster) -> None:
        self._cluster = cluster

    def open(self) -> Store:
        return open_store(self._cluster.config)

    def compact(self, revision: int) -> None:
        request = urllib.request.Request(
            f"{self._cluster.members[0].url}/v3/kv/compaction", json.dumps({"revision": str(revision)}).encode()
        )
        with urllib.request.urlopen(request) as answer:
            assert answer.status == 200

    def interrupt(self) -> None:
        self._cluster.members[0].kill()
        self._cluster.start(self._cluster.members[0])
        self._cluster.await_ready()

    def let_time_pass(self, seconds: float) -> None:
        """The test awaits what must happen."""


@pytest.fixture(scope="module")
def etcd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Backend]:
    with etcd_cluster(
        tmp_path_factory.mktemp("etcd"), options=["--experimental-watch-progress-notify-interval", "200ms"]
    ) as cluster:
        yield Etcd(cluster)


@pytest.fixture(scope="module")
def memory() -> Backend:
    return Memory()


@pytest.fixture(params=["memory", pytest.param("etcd", marks=pytest.mark.container)])
def backend(request: pytest.FixtureRequest) -> Backend:
    found: Backend = request.getfixturevalue(request.param)
    return found


@pytest.fixture
def store(backend: Backend) -> Iterator[Store]:
    with backend.open() as opened:
        yield opened


@pytest.fixture
def prefix() -> str:
    return f"/test{next(_numbers)}/"


def put(store: Store, key: str, value: bytes = b"", *, lease: int = 0) -> int:
    """Write a key whatever it was; its new revision."""
    result = store.txn([], [Put(key, value, lease)])
    assert result.succeeded
    return result.revision


def collect(watch: Watch, until: int) -> list[Batch]:
    """What the watch delivers up to and including a revision."""
    batches: list[Batch] = []
    for batch in watch:
        batches.append(batch)
        if batch.revision >= until:
            break
    return batches


def events(batches: list[Batch]) -> list[Event]:
    return [event for batch in batches for event in batch.events]


# Reading and writing


def test_an_absent_key_is_none(store: Store, prefix: str) -> None:
    assert store.get(prefix + "absent") is None


def test_a_key_counts_its_revisions_and_versions(store: Store, prefix: str) -> None:
    created = put(store, prefix + "k", b"1")
    changed = put(store, prefix + "k", b"2")
    assert changed == created + 1
    assert store.get(prefix + "k") == KeyValue(prefix + "k", b"2", changed, created, 2, 0)


def test_a_deleted_key_begins_anew(store: Store, prefix: str) -> None:
    put(store, prefix + "k")
    store.txn([], [Delete(prefix + "k")])
    assert store.get(prefix + "k") is None
    created = put(store, prefix + "k", b"again")
    assert store.get(prefix + "k") == KeyValue(prefix + "k", b"again", created, created, 1, 0)


def test_a_past_revision_can_be_read(store: Store, prefix: str) -> None:
    before = store.revision()
    first = put(store, prefix + "k", b"1")
    put(store, prefix + "k", b"2")
    past = store.get(prefix + "k", revision=first)
    assert past is not None
    assert past.value == b"1"
    assert store.get(prefix + "k", revision=before) is None


def test_a_revision_to_come_is_refused(store: Store, prefix: str) -> None:
    with pytest.raises(KeyfoldError, match="reached"):
        store.get(prefix + "k", revision=store.revision() + 1000)


def test_a_serializable_read_sees_what_this_member_has(store: Store, prefix: str) -> None:
    put(store, prefix + "k", b"v")
    found = store.get(prefix + "k", serializable=True)
    assert found is not None
    assert found.value == b"v"


@pytest.mark.parametrize(
    "value",
    [b"", bytes(range(256)), b"\xff\xfe\0\0", os.urandom(1_000_000)],
    ids=["empty", "all bytes", "not text", "1 MB"],
)
def test_values_come_back_as_they_were_written(store: Store, prefix: str, value: bytes) -> None:
    put(store, prefix + "k", value)
    found = store.get(prefix + "k")
    assert found is not None
    assert found.value == value


def test_a_key_may_hold_any_text(store: Store, prefix: str) -> None:
    key = prefix + "schlüssel/密鑰 \U0001f511"
    put(store, key, b"v")
    assert [kv.key for kv in store.scan(prefix)] == [key]


# Transactions


def test_a_transaction_writes_everything_at_one_revision(store: Store, prefix: str) -> None:
    put(store, prefix + "gone")
    result = store.txn([], [Put(prefix + "a", b"1"), Delete(prefix + "gone"), Put(prefix + "b", b"2")])
    assert [kv.mod_revision for kv in store.scan(prefix)] == [result.revision, result.revision]
    assert [kv.key for kv in store.scan(prefix)] == [prefix + "a", prefix + "b"]
    assert result.current == {}


def test_a_compare_that_does_not_hold_writes_nothing_and_says_what_holds(store: Store, prefix: str) -> None:
    revision = put(store, prefix + "a", b"theirs")
    result = store.txn(
        [Unchanged(prefix + "a", revision - 1), Unchanged(prefix + "b", 0)],
        [Put(prefix + "a", b"mine"), Put(prefix + "b", b"mine")],
    )
    assert not result.succeeded
    assert result.revision == store.revision()
    assert result.current == {
        prefix + "a": KeyValue(prefix + "a", b"theirs", revision, revision, 1, 0),
        prefix + "b": None,
    }
    assert store.get(prefix + "b") is None


def test_compare_with_0_holds_only_for_an_absent_key(store: Store, prefix: str) -> None:
    assert store.txn([Unchanged(prefix + "k", 0)], [Put(prefix + "k", b"1")]).succeeded
    assert not store.txn([Unchanged(prefix + "k", 0)], [Put(prefix + "k", b"2")]).succeeded


def test_a_transaction_that_changes_nothing_takes_no_revision(store: Store, prefix: str) -> None:
    before = store.revision()
    result = store.txn([], [Delete(prefix + "absent")])
    assert result.succeeded
    assert (result.revision, store.revision()) == (before, before)


def test_of_many_concurrent_writers_exactly_one_wins(backend: Backend, store: Store, prefix: str) -> None:
    revision = put(store, prefix + "k", b"start")
    writers = 8
    together = threading.Barrier(writers)

    def write(number: int) -> bool:
        together.wait()
        return store.txn([Unchanged(prefix + "k", revision)], [Put(prefix + "k", b"%d" % number)]).succeeded

    with ThreadPoolExecutor(writers) as pool:
        won = list(pool.map(write, range(writers)))
    found = store.get(prefix + "k")
    assert won.count(True) == 1
    assert found is not None
    assert found.value == b"%d" % won.index(True)


def test_512_operations_are_taken_and_513_refused_before_sending(store: Store, prefix: str) -> None:
    operations = [Put(f"{prefix}{i}", b"") for i in range(513)]
    assert store.txn([Unchanged(op.key, 0) for op in operations[:512]], operations[:512]).succeeded
    before = store.revision()
    with pytest.raises(TooLarge, match="513 operations"):
        store.txn([], operations)
    with pytest.raises(TooLarge, match="513 compares"):
        store.txn([Unchanged(op.key, 0) for op in operations], [])
    assert store.revision() == before


def test_the_largest_request_is_taken_and_a_larger_one_refused(store: Store, prefix: str) -> None:
    room = 1_500_000 - len(prefix + "k")
    assert put(store, prefix + "k", b"x" * room)
    with pytest.raises(TooLarge, match="1500001 bytes"):
        put(store, prefix + "k", b"x" * (room + 1))


def test_a_key_written_twice_is_a_defect(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="twice"):
        store.txn([], [Put(prefix + "k", b"1"), Delete(prefix + "k")])


# Scans


def test_a_scan_lists_its_prefix_only_in_key_order(store: Store, prefix: str) -> None:
    for name in ("b", "a", "a/b", "z"):
        put(store, prefix + name, name.encode())
    put(store, prefix[:-1] + "0", b"just after the prefix")
    assert [(kv.key, kv.value) for kv in store.scan(prefix)] == [
        (prefix + name, name.encode()) for name in ("a", "a/b", "b", "z")
    ]
    assert list(store.scan(prefix + "nothing")) == []


@pytest.mark.parametrize("page", [1, 2, 500])
def test_a_scan_leaves_out_what_it_is_told_to(store: Store, prefix: str, page: int) -> None:
    names = ("a", "m", "n/1", "n/2", "n0", "z", "zz")
    for name in names:
        put(store, prefix + name, b"")
    there = [item.key.removeprefix(prefix) for item in store.scan(prefix, page=page, without=f"{prefix}n/")]
    assert there == ["a", "m", "n0", "z", "zz"]
    assert [item.key for item in store.scan(f"{prefix}n/", page=page, without=f"{prefix}n/1")] == [f"{prefix}n/2"]


def test_a_scan_for_keys_brings_no_values(store: Store, prefix: str) -> None:
    revision = put(store, prefix + "k", b"value")
    assert list(store.scan(prefix, keys_only=True)) == [KeyValue(prefix + "k", b"", revision, revision, 1, 0)]


def test_all_pages_of_a_scan_are_of_one_revision_while_others_write(
    backend: Backend, store: Store, prefix: str
) -> None:
    for start in range(0, 300, 100):
        store.txn([], [Put(f"{prefix}{i:03}", b"old") for i in range(start, start + 100)])
    scan = store.scan(prefix, page=7)
    items = iter(scan)
    seen = [next(items)]
    with backend.open() as other:
        other.txn([], [Put(f"{prefix}{i:03}", b"new") for i in range(100, 200)])
        other.txn([], [Delete(f"{prefix}{i:03}") for i in range(200, 300)])
        other.txn([], [Put(f"{prefix}{i:03}", b"late") for i in range(300, 310)])
    seen += items
    assert [kv.key for kv in seen] == [f"{prefix}{i:03}" for i in range(300)]
    assert {kv.value for kv in seen} == {b"old"}
    assert max(kv.mod_revision for kv in seen) == scan.revision


def test_a_scan_of_a_past_revision_is_of_that_revision(store: Store, prefix: str) -> None:
    revision = put(store, prefix + "k", b"1")
    put(store, prefix + "k", b"2")
    put(store, prefix + "l")
    scan = store.scan(prefix, revision=revision)
    assert scan.revision == revision
    assert [(kv.key, kv.value) for kv in scan] == [(prefix + "k", b"1")]


# Leases


def test_a_lease_that_ends_takes_its_keys_along_at_one_revision(backend: Backend, store: Store, prefix: str) -> None:
    lease = store.grant(1)
    put(store, prefix + "a", lease=lease)
    revision = put(store, prefix + "b", lease=lease)
    put(store, prefix + "stays")
    backend.let_time_pass(1.0)
    with store.watch(prefix, revision + 2, progress=False) as watch:
        batch = next(iter(watch))
    assert [(event.key, event.value) for event in batch.events] == [(prefix + "a", None), (prefix + "b", None)]
    assert {event.mod_revision for event in batch.events} == {batch.revision}
    assert [kv.key for kv in store.scan(prefix)] == [prefix + "stays"]
    assert store.keep_alive(lease) == 0


def test_a_lease_is_kept_alive_and_its_key_names_it(backend: Backend, store: Store, prefix: str) -> None:
    lease = store.grant(60)
    put(store, prefix + "k", lease=lease)
    backend.let_time_pass(40)
    assert store.keep_alive(lease) == 60
    backend.let_time_pass(40)
    found = store.get(prefix + "k")
    assert found is not None
    assert found.lease == lease


def test_a_put_without_the_lease_detaches_the_key(store: Store, prefix: str) -> None:
    lease = store.grant(60)
    put(store, prefix + "k", lease=lease)
    put(store, prefix + "k")
    store.revoke(lease)
    found = store.get(prefix + "k")
    assert found is not None
    assert found.lease == 0


def test_revoking_deletes_and_may_be_repeated(store: Store, prefix: str) -> None:
    lease = store.grant(60)
    put(store, prefix + "k", lease=lease)
    store.revoke(lease)
    store.revoke(lease)
    assert store.get(prefix + "k") is None
    assert store.keep_alive(lease) == 0


def test_a_put_under_a_lease_that_is_gone_writes_nothing(store: Store, prefix: str) -> None:
    lease = store.grant(60)
    store.revoke(lease)
    with pytest.raises(LeaseGone, match=f"{lease:x}"):
        store.txn([], [Put(prefix + "a", b""), Put(prefix + "b", b"", lease)])
    assert list(store.scan(prefix)) == []


def test_a_lease_that_is_gone_does_not_matter_when_the_compare_does_not_hold(store: Store, prefix: str) -> None:
    put(store, prefix + "k")
    assert not store.txn([Unchanged(prefix + "k", 0)], [Put(prefix + "k", b"", 12345)]).succeeded


# Watches


def test_a_watch_delivers_each_event_of_its_prefix_once_and_in_order(store: Store, prefix: str) -> None:
    first = put(store, prefix + "a", b"1")
    second = put(store, prefix + "a", b"2")
    put(store, prefix[:-1] + "0", b"just after the prefix")
    third = store.txn([], [Delete(prefix + "a")]).revision
    with store.watch(prefix, first) as watch:
        batches = collect(watch, third)
        assert events(batches) == [
            Event(prefix + "a", KeyValue(prefix + "a", b"1", first, first, 1, 0), first),
            Event(prefix + "a", KeyValue(prefix + "a", b"2", second, first, 2, 0), second),
            Event(prefix + "a", None, third),
        ]
        fourth = put(store, prefix + "live", b"now")
        assert [event.key for event in events(collect(watch, fourth))] == [prefix + "live"]


def test_a_watch_begins_where_it_is_told_to(store: Store, prefix: str) -> None:
    put(store, prefix + "before")
    revision = put(store, prefix + "from here")
    with store.watch(prefix, revision) as watch:
        assert [event.key for event in events(collect(watch, revision))] == [prefix + "from here"]


def test_no_revision_is_torn_and_revisions_rise(backend: Backend, store: Store, prefix: str) -> None:
    start = store.revision() + 1
    written: dict[int, int] = {}
    with store.watch(prefix, start) as watch, backend.open() as other:
        with ThreadPoolExecutor(1) as pool:

            def write() -> int:
                for number in range(1, 21):
                    operations = [Put(f"{prefix}{number}/{i}", b"x" * 2000) for i in range(number)]
                    written[other.txn([], operations).revision] = number
                return max(written)

            last = pool.submit(write).result()
        batches = collect(watch, last)
    seen: dict[int, int] = {}
    for batch in batches:
        for revision in {event.mod_revision for event in batch.events}:
            assert revision not in seen
            seen[revision] = sum(event.mod_revision == revision for event in batch.events)
    assert seen == written
    revisions = [batch.revision for batch in batches]
    assert revisions == sorted(set(revisions))


def test_catching_up_with_more_than_one_large_answer_loses_nothing(store: Store, prefix: str) -> None:
    start = store.revision() + 1
    for number in range(6):
        last = store.txn([], [Put(f"{prefix}{number}/{i}", os.urandom(100_000)) for i in range(10)]).revision
    with store.watch(prefix, start) as watch:
        batches = collect(watch, last)
    assert len(events(batches)) == 60
    for batch in batches:
        assert len(batch.events) % 10 == 0


def test_a_watch_tells_how_far_it_is_while_nothing_happens(store: Store, prefix: str) -> None:
    revision = put(store, "/elsewhere" + prefix)
    with store.watch(prefix, 1 + revision - 1) as watch:
        batches = collect(watch, revision)
    assert events(batches) == []


def test_a_watch_resumes_after_an_interruption_without_loss_or_repetition(
    backend: Backend, store: Store, prefix: str
) -> None:
    keys = [f"{prefix}{i}" for i in range(6)]
    revisions = [put(store, key) for key in keys[:2]]
    with store.watch(prefix, revisions[0]) as watch:
        seen = collect(watch, revisions[1])
        revisions.append(put(store, keys[2]))
        backend.interrupt()
        revisions += [put(store, key) for key in keys[3:]]
        seen += collect(watch, revisions[-1])
    assert [event.key for event in events(seen)] == keys
    assert [event.mod_revision for event in events(seen)] == revisions


@pytest.mark.parametrize("when", ["waiting", "before it began"])
def test_closing_a_watch_from_another_thread_ends_the_iteration(store: Store, prefix: str, when: str) -> None:
    revision = put(store, prefix + "k")
    watch = store.watch(prefix, revision)
    begun = threading.Event()
    delivered: list[Batch] = []

    def follow() -> None:
        for batch in watch:
            delivered.append(batch)
            begun.set()

    if when == "before it began":
        watch.close()
    thread = threading.Thread(target=follow)
    thread.start()
    if when == "waiting":
        assert begun.wait(5)
    watch.close()
    watch.close()
    thread.join(5)
    assert not thread.is_alive()
    assert bool(delivered) is (when == "waiting")


def test_closing_the_store_ends_its_watches(backend: Backend, prefix: str) -> None:
    begun = threading.Event()
    with backend.open() as store:
        watch = store.watch(prefix, put(store, prefix + "k"))

        def follow() -> None:
            for _ in watch:
                begun.set()

        thread = threading.Thread(target=follow)
        thread.start()
        assert begun.wait(5)
    thread.join(5)
    assert not thread.is_alive()


def test_a_watch_must_begin_at_a_revision(store: Store, prefix: str) -> None:
    with pytest.raises(ValueError, match="revision"):
        store.watch(prefix, 0)


# Compaction


@pytest.mark.parametrize(
    "read",
    [
        lambda store, key, revision: store.get(key, revision=revision),
        lambda store, key, revision: store.scan(key, revision=revision),
    ],
    ids=["get", "scan"],
)
def test_reading_compacted_history_raises(
    backend: Backend, store: Store, prefix: str, read: Callable[[Store, str, int], object]
) -> None:
    old = put(store, prefix + "k", b"old")
    new = put(store, prefix + "k", b"new")
    backend.compact(new)
    with pytest.raises(Compacted):
        read(store, prefix + "k", old)
    assert read(store, prefix + "k", new)


def test_watching_from_compacted_history_raises_and_says_what_is_left(
    backend: Backend, store: Store, prefix: str
) -> None:
    old = put(store, prefix + "k", b"old")
    new = put(store, prefix + "k", b"new")
    backend.compact(new)
    with store.watch(prefix, old) as watch, pytest.raises(Compacted) as caught:
        next(iter(watch))
    assert caught.value.compact_revision == new
    with store.watch(prefix, new) as watch:
        assert [event.mod_revision for event in events(collect(watch, new))] == [new]


def test_a_watch_that_falls_behind_compaction_during_an_interruption_raises(
    backend: Backend, store: Store, prefix: str
) -> None:
    first = put(store, prefix + "k")
    with store.watch(prefix, first, progress=False) as watch:
        batches = iter(watch)
        assert next(batches).revision == first
        backend.interrupt()
        # Connections are broken now and the watch has not been asked since: it resumes only after this.
        last = [put(store, prefix + "k", b"%d" % i) for i in range(3)][-1]
        backend.compact(last)
        with pytest.raises(Compacted):
            next(batches)


# The cluster


def test_members_tell_their_state(store: Store) -> None:
    (member,) = store.members()
    assert (member.healthy, member.leader, member.error) == (True, True, "")
    assert member.revision == store.revision()


def test_what_was_deleted_cannot_be_read_at_any_revision_after_compaction(backend: Backend, prefix: str) -> None:
    with backend.open() as store:
        old = store.txn((), [Put(f"{prefix}a", b"secret")]).revision
        gone = store.txn((), [Delete(f"{prefix}a")]).revision
        store.compact(gone)
        store.compact(gone)
        with pytest.raises(Compacted):
            store.get(f"{prefix}a", revision=old)
        assert store.get(f"{prefix}a") is None
        assert store.txn((), [Put(f"{prefix}b", b"")]).succeeded


def test_every_member_can_be_defragmented_and_goes_on(backend: Backend, prefix: str) -> None:
    with backend.open() as store:
        store.txn((), [Put(f"{prefix}a", b"1")])
        for member in store.members():
            store.defragment(member.endpoint)
        found = store.get(f"{prefix}a")
        assert found is not None
        assert found.value == b"1"
