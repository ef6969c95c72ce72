"""What only a real etcd can show: lost answers, members that die, hang or lose their majority, TLS, a full quota."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support.etcd_server import EtcdCluster, EtcdMember, await_that, etcd_cluster, make_tls_files
from support.tcp_proxy import Mode, TcpProxy, tcp_proxy

from keyfold.errors import KeyfoldError
from keyfold.store import Store, StoreConfig, open_store
from keyfold.store.errors import CertificateRefused, OutcomeUnknown, StoreFull, StoreUnavailable
from keyfold.store.etcd import calls, endpoints, watch
from keyfold.store.interface import Batch, Put, Unchanged
from keyfold.store.settle import settle

pytestmark = pytest.mark.container
_numbers = itertools.count(1)
SECONDS = 5.0


@pytest.fixture(scope="module")
def single(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd_cluster(tmp_path_factory.mktemp("single")) as cluster:
        yield cluster


@pytest.fixture(scope="module")
def running_three(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    with etcd_cluster(tmp_path_factory.mktemp("three"), size=3) as cluster:
        yield cluster


@pytest.fixture
def three(running_three: EtcdCluster) -> EtcdCluster:
    """Three healthy members; those that an earlier test killed are started again."""
    for member in running_three.members:
        if not member.running:
            running_three.start(member)
    running_three.await_ready()
    return running_three


@pytest.fixture
def proxy(single: EtcdCluster) -> Iterator[TcpProxy]:
    with tcp_proxy(("127.0.0.1", urlsplit(single.members[0].url).port or 0)) as between:
        yield between


@pytest.fixture
def behind_proxy(proxy: TcpProxy) -> Iterator[Store]:
    with open_store(StoreConfig((f"http://127.0.0.1:{proxy.port}",))) as store:
        yield store


@pytest.fixture
def key() -> str:
    return f"/test{next(_numbers)}/k"


@pytest.fixture
def impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A watch that asks after half a second of silence."""
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 0.5)
    monkeypatch.setattr(calls, "PROBE_SECONDS", 0.5)


def leader_of(cluster: EtcdCluster) -> EtcdMember:
    with open_store(cluster.config) as store:
        return next(m for m, s in zip(cluster.members, store.members(), strict=True) if s.leader)


def value(store: Store, key: str) -> bytes | None:
    found = store.get(key)
    return None if found is None else found.value


# A transaction's answer is lost


@pytest.mark.parametrize("mode", [Mode.SWALLOW_ANSWERS, Mode.CUT_ANSWERS])
def test_an_applied_transaction_without_answer_is_unknown(
    single: EtcdCluster, proxy: TcpProxy, behind_proxy: Store, key: str, mode: Mode
) -> None:
    behind_proxy.revision()  # so that a kept connection is used
    proxy.mode = mode
    with pytest.raises(OutcomeUnknown):
        behind_proxy.txn([Unchanged(key, 0)], [Put(key, b"applied")], timeout_seconds=0.4)
    with open_store(single.config) as direct:
        assert value(direct, key) == b"applied"


def test_a_transaction_that_was_swallowed_on_the_way_is_unknown_too(
    single: EtcdCluster, proxy: TcpProxy, behind_proxy: Store, key: str
) -> None:
    proxy.mode = Mode.SWALLOW_REQUESTS
    with pytest.raises(OutcomeUnknown):
        behind_proxy.txn([], [Put(key, b"lost")], timeout_seconds=0.4)
    with open_store(single.config) as direct:
        assert value(direct, key) is None


def test_settle_finds_that_its_transaction_was_applied(proxy: TcpProxy, behind_proxy: Store, key: str) -> None:
    behind_proxy.revision()
    proxy.mode = Mode.CUT_ANSWERS
    threading.Timer(0.5, lambda: setattr(proxy, "mode", Mode.PASS)).start()
    result = settle(behind_proxy, [Unchanged(key, 0)], [Put(key, b"mine")], timeout_seconds=SECONDS)
    found = behind_proxy.get(key)
    assert found is not None
    assert (result.succeeded, found.value, found.version) == (True, b"mine", 1)
    assert result.revision == found.mod_revision


def test_a_transaction_nobody_could_take_is_unavailable(single: EtcdCluster, proxy: TcpProxy, key: str) -> None:
    with open_store(StoreConfig((f"http://127.0.0.1:{proxy.port}",))) as store:
        proxy.close()
        with pytest.raises(StoreUnavailable, match="refused") as caught:
            store.txn([], [Put(key, b"")], timeout_seconds=0.3)
    assert caught.value.exit_code == 5


def test_a_kept_connection_that_the_server_closed_is_not_used_for_a_transaction(tmp_path: Path, key: str) -> None:
    with etcd_cluster(tmp_path) as cluster, open_store(cluster.config) as store:
        store.revision()
        cluster.members[0].kill()
        cluster.start(cluster.members[0])
        assert store.txn([Unchanged(key, 0)], [Put(key, b"v")], timeout_seconds=SECONDS).succeeded


def test_the_deadline_covers_the_whole_call(behind_proxy: Store, proxy: TcpProxy, key: str) -> None:
    proxy.mode = Mode.SWALLOW_ANSWERS
    begun = time.monotonic()
    with pytest.raises(OutcomeUnknown):
        behind_proxy.txn([], [Put(key, b"")], timeout_seconds=0.3)
    assert time.monotonic() - begun < 2


# Members die, hang, lose their majority


def test_calls_and_the_watch_go_on_when_the_leader_is_killed(three: EtcdCluster, key: str) -> None:
    leader = leader_of(three)
    others = [member.url for member in three.members if member is not leader]
    with open_store(StoreConfig((leader.url, *others))) as store:
        first = store.txn([Unchanged(key, 0)], [Put(key, b"1")], timeout_seconds=SECONDS).revision
        with store.watch(key, first) as following:
            batches = iter(following)
            assert next(batches).events[0].mod_revision == first
            leader.kill()
            second = settle(store, [Unchanged(key, first)], [Put(key, b"2")], timeout_seconds=SECONDS)
            assert second.succeeded
            assert store.get(key, revision=first)
            lease = store.grant(30)
            assert store.keep_alive(lease) == 30
            delivered = next(batch for batch in batches if batch.events)
        assert [event.mod_revision for event in delivered.events] == [second.revision]
        dead, *alive = store.members()
    assert not dead.healthy
    assert "refused" in dead.error
    assert all(member.healthy for member in alive)


def test_a_member_that_hangs_does_not_use_up_a_reads_time(three: EtcdCluster, key: str) -> None:
    with open_store(three.config) as store, three.members[0].hung():
        assert store.get(key) is None
        begun = time.monotonic()
        assert store.get(key) is None  # stays with the healthy one
        assert time.monotonic() - begun < SECONDS / 4


def test_the_watch_leaves_a_member_that_hangs(three: EtcdCluster, key: str, impatient: None) -> None:
    others = StoreConfig(three.config.endpoints[1:])
    with open_store(three.config) as store, open_store(others) as writer:
        start = writer.txn([], [Put(key, b"1")], timeout_seconds=SECONDS).revision
        with store.watch(key, start) as following:
            batches = iter(following)
            next(batches)
            with three.members[0].hung():
                revision = settle(writer, [Unchanged(key, start)], [Put(key, b"2")], timeout_seconds=SECONDS).revision
                assert next(batch for batch in batches if batch.events).revision == revision


def test_the_watch_leaves_a_connection_that_was_blackholed(
    single: EtcdCluster, proxy: TcpProxy, key: str, impatient: None
) -> None:
    config = StoreConfig((f"http://127.0.0.1:{proxy.port}", *single.config.endpoints))
    with open_store(config) as store, open_store(single.config) as writer:
        start = writer.txn([], [Put(key, b"1")]).revision
        with store.watch(key, start) as following:
            batches = iter(following)
            next(batches)
            proxy.mode = Mode.SWALLOW_ANSWERS
            revision = writer.txn([], [Put(key, b"2")]).revision
            assert next(batch for batch in batches if batch.events).revision == revision


def test_the_store_comes_home_to_the_first_endpoint(
    three: EtcdCluster, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(endpoints, "HOME_AFTER_SECONDS", 0.1)
    home = three.members[0]
    home.kill()
    with open_store(three.config) as store:
        assert store.get(key) is None
        order = store._calls.order  # type: ignore[attr-defined]
        assert order.order()[0] != 0
        three.start(home)

        def is_home() -> bool:
            assert store.get(key) is None
            return bool(order.order()[0] == 0)

        await_that(is_home, "never came home")


def test_a_member_without_majority_changes_nothing_reads_locally_and_loses_its_watch(
    three: EtcdCluster, key: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `hasleader` the transaction would time out, and the stream stay open, silent and healthy to look at."""
    survivor, *lost = three.members
    monkeypatch.setattr(watch, "SILENCE_SECONDS", 60)  # so that only the member's own word can end it
    abandoned = threading.Event()
    with open_store(StoreConfig((survivor.url,))) as store:
        start = store.txn([], [Put(key, b"committed")], timeout_seconds=SECONDS).revision
        batches: list[Batch] = []
        with store.watch(key, start) as following:
            thread = threading.Thread(target=lambda: batches.extend(following))
            thread.start()
            await_that(lambda: bool(batches), "nothing delivered")
            monkeypatch.setattr(store._calls.order, "failed", lambda index: abandoned.set())  # type: ignore[attr-defined]
            for member in lost:
                member.kill()
            assert abandoned.wait(10)
            assert "no leader" in store.members()[0].error
            with pytest.raises(StoreUnavailable, match="no leader") as caught:
                store.txn([], [Put(key, b"lost")], timeout_seconds=0.3)
            assert caught.value.code == "no_quorum"
            found = store.get(key, serializable=True)
            assert found is not None
            assert found.value == b"committed"
        thread.join(5)
        assert not thread.is_alive()


# Quota


def test_a_full_quota_names_itself_and_reading_goes_on(tmp_path: Path, key: str) -> None:
    # etcd looks at the size of what is committed to disk: let it commit every write.
    options = ["--quota-backend-bytes", str(1024 * 1024), "--backend-batch-limit", "1"]
    with etcd_cluster(tmp_path, options=options) as cluster, open_store(cluster.config) as store:

        def fill() -> None:
            for number in range(8):
                store.txn([], [Put(f"{key}{number}", b"x" * 500_000)], timeout_seconds=SECONDS)

        with pytest.raises(StoreFull, match="quota-backend-bytes") as caught:
            fill()
        assert caught.value.exit_code == 9
        assert store.get(f"{key}0") is not None
        (member,) = store.members()
        assert not member.healthy
        assert "NOSPACE" in member.error


# TLS


@pytest.fixture(scope="module")
def tls(tmp_path_factory: pytest.TempPathFactory) -> Iterator[EtcdCluster]:
    files = make_tls_files(tmp_path_factory.mktemp("pki"))
    with etcd_cluster(tmp_path_factory.mktemp("tls"), tls=files) as cluster:
        yield cluster


def test_a_client_certificate_without_a_common_name_is_let_in(tls: EtcdCluster, key: str) -> None:
    with open_store(tls.config) as store:
        revision = store.txn([Unchanged(key, 0)], [Put(key, b"v")]).revision
        with store.watch(key, revision) as following:
            assert next(iter(following)).revision == revision
        assert store.members()[0].healthy


def test_closing_a_watch_over_tls_ends_it(tls: EtcdCluster, key: str) -> None:
    with open_store(tls.config) as store:
        following = store.watch(key, store.txn([], [Put(key, b"v")]).revision)
        seen: list[Batch] = []
        thread = threading.Thread(target=lambda: seen.extend(following))
        thread.start()
        await_that(lambda: bool(seen), "nothing delivered")
        following.close()
        thread.join(2)
        assert not thread.is_alive()


def test_a_client_of_another_authority_is_refused_at_once(tls: EtcdCluster, tmp_path: Path, key: str) -> None:
    other = make_tls_files(tmp_path)
    begun = time.monotonic()
    with (
        open_store(replace(tls.config, cert=other.cert, key=other.key)) as store,
        pytest.raises(CertificateRefused) as caught,
    ):
        store.txn([], [Put(key, b"v")], timeout_seconds=SECONDS)
    assert caught.value.exit_code == 10
    assert time.monotonic() - begun < SECONDS / 2


def test_a_server_of_another_authority_is_not_talked_to(tls: EtcdCluster, tmp_path: Path, key: str) -> None:
    other = make_tls_files(tmp_path)
    with (
        open_store(replace(tls.config, ca=other.ca)) as store,
        pytest.raises(CertificateRefused, match="verify failed"),
    ):
        store.txn([], [Put(key, b"v")], timeout_seconds=SECONDS)


def test_a_server_by_another_name_is_not_talked_to(tls: EtcdCluster, key: str) -> None:
    elsewhere = tls.members[0].url.replace("127.0.0.1", "localhost")
    with (
        open_store(replace(tls.config, endpoints=(elsewhere,))) as store,
        pytest.raises(CertificateRefused, match="localhost"),
    ):
        store.txn([], [Put(key, b"v")], timeout_seconds=SECONDS)


def test_files_that_cannot_be_used_are_named_before_anything_is_sent(tls: EtcdCluster, tmp_path: Path) -> None:
    missing = tmp_path / "missing.key"
    with pytest.raises(KeyfoldError, match=r"missing\.key") as caught:
        open_store(replace(tls.config, key=missing))
    assert caught.value.code == "certificate"
    with pytest.raises(KeyfoldError, match="ca file"):
        open_store(StoreConfig(tls.config.endpoints))
