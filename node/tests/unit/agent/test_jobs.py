"""One backup at a time, over two nodes of the backup site and etcd in memory."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.admin import ROOT
from support.backup_site import make_site
from support.clocks import StillClock

from keyfold.agent.jobs import Jobs
from keyfold.agent.server import Caller
from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.errors import KeyfoldError
from keyfold.jobs.hold import LEASE_SECONDS, Hold, held
from keyfold.replication import keys
from keyfold.store.interface import Delete
from keyfold.store.memory import MemoryEtcd, MemoryStore


class Node:
    """The agent of one node, as a command on it calls it. `down`: it does not answer."""

    def __init__(self, name: str, etcd: MemoryEtcd, clock: StillClock, site_role: str = "backup") -> None:
        self.store = MemoryStore(etcd)
        config: Any = SimpleNamespace(node=name, site_role=site_role)
        self.operations = Jobs(config, self.store, clock).table()
        self.down = False

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        if self.down:
            raise KeyfoldError("agent_down", "no answer", not_done="-", next_step="-")
        reply: Any = self.operations[op](ROOT, params)
        return dict(reply)


@pytest.fixture
def etcd() -> MemoryEtcd:
    return MemoryEtcd()


@pytest.fixture
def clock() -> StillClock:
    return StillClock()


def test_a_second_run_on_another_node_is_told_who_is_running(etcd: MemoryEtcd, clock: StillClock) -> None:
    with held(Node("hsm3", etcd, clock), clock, "backup"):
        with pytest.raises(KeyfoldError) as caught, held(Node("hsm4", etcd, clock), clock, "backup"):
            pytest.fail("two at a time")
        assert caught.value.code == "conflict"
        assert "under way on hsm3 since 2026-03-01T12:00" in caught.value.what
        # Another job is another matter.
        with held(Node("hsm4", etcd, clock), clock, "drill"):
            pass
    with held(Node("hsm4", etcd, clock), clock, "backup") as hold:
        hold.require()


def test_a_run_on_the_same_node_is_a_second_run_too(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm3", etcd, clock)
    with held(node, clock, "backup"), pytest.raises(KeyfoldError, match="under way on hsm3"):
        Hold(node, clock, "backup")


def test_the_job_of_a_run_that_was_killed_is_free_when_its_lease_ends(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm3", etcd, clock)
    Hold(node, clock, "backup")
    item = node.store.get(keys.job("backup"))
    assert item is not None
    assert item.lease
    node.store.revoke(item.lease)
    Hold(Node("hsm4", etcd, clock), clock, "backup").require()


def test_who_lost_the_job_to_another_may_not_finish_and_takes_nothing_from_it(
    etcd: MemoryEtcd, clock: StillClock
) -> None:
    slow, other = Node("hsm3", etcd, clock), Node("hsm4", etcd, clock)
    late = Hold(slow, clock, "backup")
    slow.store.txn((), [Delete(keys.job("backup"))])
    newer = Hold(other, clock, "backup")
    with pytest.raises(KeyfoldError) as caught:
        late.require()
    assert caught.value.code == "conflict"
    late.end()
    newer.require()


def test_an_agent_that_restarts_meanwhile_costs_nothing(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm3", etcd, clock)
    hold = Hold(node, clock, "backup")
    node.down = True
    hold.renew()
    clock.advance(20)
    node.down = False
    hold.require()


def test_who_could_not_ask_for_too_long_may_not_finish(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm3", etcd, clock)
    hold = Hold(node, clock, "backup")
    node.down = True
    clock.advance(LEASE_SECONDS - 10)
    with pytest.raises(KeyfoldError, match="lost its place"):
        hold.require()


def test_a_node_outside_the_backup_site_begins_nothing(etcd: MemoryEtcd, clock: StillClock) -> None:
    node = Node("hsm1", etcd, clock, "primary")
    with pytest.raises(KeyfoldError, match="not in the backup site") as caught:
        Hold(node, clock, "backup")
    assert caught.value.code == "invalid"
    assert node.store.get(keys.job("backup")) is None


@pytest.mark.parametrize("request_", [{}, {"job": "other", "id": "1"}, {"job": "backup"}])
def test_what_is_no_job_is_invalid(etcd: MemoryEtcd, clock: StillClock, request_: dict[str, Any]) -> None:
    with pytest.raises(KeyfoldError) as caught:
        Node("hsm3", etcd, clock).call("job_begin", **request_)
    assert caught.value.code == "invalid"


def test_a_subscriber_may_not_hold_a_job(etcd: MemoryEtcd, clock: StillClock) -> None:
    operation: Any = Node("hsm3", etcd, clock).operations["job_begin"]
    with pytest.raises(KeyfoldError, match="administrator's"):
        operation(Caller(50001, "acme"), {"job": "backup", "id": "1"})


class Both:
    """The backup's own agent, with the jobs of a real one."""

    def __init__(self, agent: Any, node: Node) -> None:
        self._agent, self._node = agent, node

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        reply: dict[str, Any] = (self._node if op.startswith("job_") else self._agent).call(op, **params)
        return reply

    def stream(self, op: str, **params: Any) -> Any:
        return self._agent.stream(op, **params)


def test_a_backup_that_lost_its_place_publishes_nothing(
    etcd: MemoryEtcd, clock: StillClock, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    node = Node("hsm3", etcd, clock)
    site.agent.before["local_digests"] = lambda: node.store.txn((), [Delete(keys.job("backup"))])
    cluster = ClusterState(Both(site.agent, node))
    with pytest.raises(KeyfoldError, match="lost its place"):
        Backup(cluster, site.store, lambda body, _: site.agent.keys.sign(body), site.config, site.clock).run()
    assert [name for name in site.store.files() if name.endswith(".jsonl")] == []
    assert site.agent.records["backup_set"] == {}
