"""The cluster's own keys over their life, with nothing in memory: rotated, retired, and made again out of the root."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from support import age_plugin
from support.live_cluster import PIN, ROOT, LiveCluster, wait_for
from support.softhsm_application import application
from support.webdav_server import make_credentials
from support.webdav_servers import apache

from keyfold.agent.client import AgentClient
from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.backup.retire import retirable
from keyfold.backup.run import Backup
from keyfold.backup.verify import require_good, verify_sets
from keyfold.clock import SystemClock
from keyfold.config import credential
from keyfold.custody.derive import root_fingerprint
from keyfold.custody.signing import sign
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote
from keyfold.remote.webdav import WebDavRemote
from keyfold.restore.order import Order
from keyfold.restore.rebuild import Rebuild
from keyfold.restore.run import Restore

pytestmark = pytest.mark.container

UUID = "11111111-2222-4333-8444-555555555555"
CUSTODY: dict[str, Any] = {
    "identifier": 4711,
    "threshold": 3,
    "shares": 5,
    "root_fingerprint": root_fingerprint(ROOT, UUID),
    "custodians": [],
    "created": "2026-11-23T00:00:00.000000Z",
}


@dataclass
class World:
    """One store; clusters come and go before it."""

    directory: Path
    open_store: Callable[[], Remote]
    patch: pytest.MonkeyPatch
    live: list[LiveCluster] = field(default_factory=list)

    @property
    def remote(self) -> Remote:
        """A connection of its own for each use, as each command has: the server drops those that are idle."""
        return self.open_store()

    def cluster(self, name: str, **options: Any) -> LiveCluster:
        live = LiveCluster(self.directory / name, ("hsm1", "hsm2"), cluster_uuid=UUID, **options)
        self.live.append(live)
        conf = live.nodes[1].home("system") / "softhsm2.conf"
        age_plugin.install_on_token(self.directory / name / "bin", conf, self.patch)
        return live

    def sign(self, live: LiveCluster, message: bytes, epoch: int) -> bytes:
        return sign(live.nodes[1].home("system"), credential("system.pin"), message, epoch)

    def backup(self, live: LiveCluster, *partitions: str) -> Manifest:
        node = live.nodes[1]
        backup = Backup(
            ClusterState(node.client),
            self.remote,
            lambda message, epoch: self.sign(live, message, epoch),
            node.config,
            SystemClock(),
        )
        made = backup.run(partitions)
        assert made is not None
        return made

    def rebuild(self, live: LiveCluster, agent: Any = None) -> Rebuild:
        node = live.nodes[1]
        return Rebuild(
            agent or node.client,
            self.remote,
            node.config,
            SystemClock(),
            lambda message, epoch: self.sign(live, message, epoch),
        )

    def found(self, live: LiveCluster) -> list[sets.StoredSet]:
        cluster = ClusterState(live.nodes[1].client)
        signer = cluster.identity().signer
        checked = verify_sets(self.remote, signer, cluster.records(sets.RECORD_KIND))
        require_good(checked)
        return checked


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    credentials, root = make_credentials(tmp_path / "pki"), tmp_path / "store"
    root.mkdir()
    with ExitStack() as stack:
        url = stack.enter_context(apache(root, credentials))

        def open_store() -> Remote:
            return stack.enter_context(WebDavRemote(url, credentials.ca, credentials.cert, credentials.key))

        made = World(tmp_path, open_store, monkeypatch)
        try:
            yield made
        finally:
            for live in reversed(made.live):
                live.stop()


def keys_in_etcd(agent: AgentClient, partition: str, *, invalidated: bool = False) -> dict[str, str]:
    rows = agent.call("object_list", partition=partition, invalidated=invalidated)["objects"]
    return {row["file"]: row["digest"] for row in rows}


def test_keys_rotate_side_by_side_until_no_set_needs_the_old_one(world: World) -> None:
    live = world.cluster("first", custody=CUSTODY)
    live.add_partition("acme")
    agent = live.nodes[0].client
    old = world.backup(live)
    first = agent.call("cluster_info")["cluster"]

    with pytest.raises(KeyfoldError) as caught:
        agent.call("backup_key_rotate", root=bytes(32).hex(), from_epoch=1)
    assert (caught.value.code, agent.call("cluster_info")["cluster"]) == ("refused", first)

    second = agent.call("backup_key_rotate", root=ROOT.hex(), from_epoch=1)["cluster"]
    assert second["backup_epoch"] == 2
    assert second["backup_recipient"] != first["backup_recipient"]
    assert [row["backup_recipient"] for row in second["older_backup_keys"]] == [first["backup_recipient"]]
    with pytest.raises(KeyfoldError) as caught:
        agent.call("backup_key_rotate", root=ROOT.hex(), from_epoch=1)
    assert caught.value.code == "conflict"

    wait_for(lambda: _signs(world, live, 2), what="the new key on the other node")
    new = world.backup(live)
    assert (new.backup_epoch, new.backup_key_fingerprint) == (2, second["backup_key_fingerprint"])
    cluster = ClusterState(live.nodes[1].client)
    config = live.nodes[1].config
    restore = Restore(cluster, world.remote, config.state, config.packages, SystemClock(), lambda _names: "")
    for made in (old, new):
        preview = restore.preview(Order("acme", made.set_id))
        assert preview.plans[0].counts["untouched"] == 1
    identity = cluster.identity()
    assert retirable(identity.older, identity.backup_key_fingerprint, world.found(live)) == []

    # The older set expires: nothing needs its key any more.
    left = [one for one in world.found(live) if one.set_id == new.set_id]
    assert retirable(identity.older, identity.backup_key_fingerprint, left) == [1]
    before = live.nodes[1].client.call("object_list", partition="system", invalidated=False)["objects"]
    assert agent.call("backup_key_retire", epochs=[1])["retired"] == [1]
    assert agent.call("backup_key_retire", epochs=[1])["retired"] == []
    after = live.nodes[1].client.call("object_list", partition="system", invalidated=False)["objects"]
    assert len(before) - len(after) == 1
    assert live.nodes[1].client.call("object_list", partition="system", invalidated=True)["objects"] == []
    token = live.nodes[1].home("system") / "tokens"
    gone = {row["file"] for row in before} - {row["file"] for row in after}
    wait_for(lambda: not any(list(token.rglob(file)) for file in gone), what="the old key's file gone on the node")
    with pytest.raises(KeyfoldError, match="another cluster"):
        restore.preview(Order("acme", old.set_id))
    assert [one.problem for one in world.found(live)] == ["", ""], "old signatures still verify"
    assert restore.preview(Order("acme", new.set_id)).plans[0].counts["untouched"] == 1


def _signs(world: World, live: LiveCluster, epoch: int) -> bool:
    try:
        return len(world.sign(live, b"x", epoch)) == 64
    except KeyfoldError:
        return False


class Interrupted(Exception):
    pass


class BreaksOff:
    """The agent, until the call `op` comes for the `nth` time."""

    def __init__(self, agent: AgentClient, op: str, nth: int) -> None:
        self._agent, self._op, self._left = agent, op, nth

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        if op == self._op:
            self._left -= 1
            if self._left == 0:
                raise Interrupted
        return self._agent.call(op, **params)

    def stream(self, op: str, **params: Any) -> Iterator[dict[str, Any]]:
        return self._agent.stream(op, **params)


def test_a_lost_cluster_comes_back_as_it_was_even_after_interruptions(world: World) -> None:
    lost = world.cluster("lost", custody=CUSTODY)
    for name in ("acme", "bolt"):
        lost.add_partition(name)
    node = lost.nodes[1]
    with application(node.home("acme"), "acme", PIN) as softhsm:
        for label in ("stays", "goes"):
            softhsm("generate", label)
        wait_for(lambda: len(keys_in_etcd(node.client, "acme")) == 5, what="the keys in etcd")
        world.backup(lost)
        softhsm("destroy", "goes")
        wait_for(lambda: len(keys_in_etcd(node.client, "acme")) == 3, what="the destroyed pair gone")
    lost.nodes[0].client.call("record_put", kind="restore", id="r1", value={"ticket": "REQ-1"})
    wait_for(lambda: _signs(world, lost, 1), what="the signing key")
    lost.nodes[0].client.call("backup_key_rotate", root=ROOT.hex(), from_epoch=1)
    wait_for(lambda: _signs(world, lost, 2), what="the new signing key")
    # The newest set has one partition only; the other one's archive is in the set before.
    newest = world.backup(lost, "bolt")
    was = {
        "cluster": node.client.call("cluster_info")["cluster"],
        "partitions": node.client.call("partition_list")["partitions"],
        "live": {name: keys_in_etcd(node.client, name) for name in ("acme", "bolt")},
        "invalidated": keys_in_etcd(node.client, "acme", invalidated=True),
    }
    lost.stop()
    world.live.remove(lost)

    again = world.cluster("again", found=False)
    agent = again.nodes[1].client
    with pytest.raises(KeyfoldError) as caught:
        world.rebuild(again).run(bytes(32), sets.LATEST, CUSTODY)
    assert caught.value.code == "refused"
    assert "by the cluster of these shares" in caught.value.what
    assert agent.call("status")["cluster"] is None
    preview = world.rebuild(again).preview(ROOT, sets.LATEST)
    assert (preview.manifest.set_id, preview.verified_sets) == (newest.set_id, 2)
    assert agent.call("status")["cluster"] is None

    for op, nth in (
        ("status", 1),
        ("rebuild_partition", 1),
        ("rebuild_partition", 2),
        ("rebuild_entries", 1),
        ("rebuild_end", 1),
    ):
        with pytest.raises(Interrupted):
            world.rebuild(again, BreaksOff(agent, op, nth)).run(ROOT, sets.LATEST, CUSTODY)
    _, rebuilt = world.rebuild(again).run(ROOT, sets.LATEST, CUSTODY)
    assert rebuilt.without_backup == ()
    assert rebuilt.partitions == {"acme": 3, "bolt": 1}
    assert rebuilt.invalidated == 2
    again.wait_until_level()

    now = agent.call("cluster_info")["cluster"]
    assert {key: value for key, value in now.items() if key != "older_backup_keys"} == {
        key: value for key, value in was["cluster"].items() if key != "older_backup_keys"
    }
    assert agent.call("partition_list")["partitions"] == was["partitions"]
    assert {name: keys_in_etcd(agent, name) for name in ("acme", "bolt")} == was["live"]
    assert keys_in_etcd(agent, "acme", invalidated=True) == was["invalidated"]
    assert agent.call("record_list", kind="restore")["records"] == {"r1": {"ticket": "REQ-1"}}
    assert len(agent.call("record_list", kind="rebuild")["records"]) == 1
    for each in again.nodes:
        wait_for(lambda each=each: (each.home("acme") / "tokens").exists() and _opens(each.home("acme")), what="acme")
        with application(each.home("acme"), "acme", PIN) as softhsm:
            assert (softhsm("find", "stays"), softhsm("find", "goes")) == (2, 0)
            assert softhsm("sign", "stays")
    assert world.backup(again).sequence == 3
    assert [one.problem for one in world.found(again)] == ["", "", ""]
    with pytest.raises(KeyfoldError, match="is alive"):
        world.rebuild(again).run(ROOT, sets.LATEST, CUSTODY)


def _opens(home: Path) -> bool:
    return any((home / "tokens").rglob("token.object"))
