"""Backup and restore with nothing in memory: agents over etcd, SoftHSM, stock age, the token's key, WebDAV over TLS."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support import age_plugin
from support.approvals import request
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.softhsm_application import application
from support.ssh import SshKey
from support.webdav_server import make_credentials
from support.webdav_servers import apache

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.backup.sets import LATEST, RECORD_KIND
from keyfold.backup.verify import require_good, verify_sets
from keyfold.clock import SystemClock
from keyfold.config import credential
from keyfold.custody.signing import sign
from keyfold.remote import Remote
from keyfold.remote.webdav import WebDavRemote
from keyfold.restore.order import Order
from keyfold.restore.run import Restore
from keyfold.restore.select import Selection

pytestmark = pytest.mark.container


@dataclass
class World:
    live: LiveCluster
    node: LiveNode
    remote: Remote
    officers: list[SshKey]

    @property
    def cluster(self) -> ClusterState:
        return ClusterState(self.node.client)

    def backup(self) -> Backup:
        def sign_(message: bytes, epoch: int) -> bytes:
            return sign(self.node.home("system"), credential("system.pin"), message, epoch)

        return Backup(self.cluster, self.remote, sign_, self.node.config, SystemClock())

    def restore(self) -> Restore:
        def safety(partitions: Sequence[str]) -> str:
            made = self.backup().run(partitions, manifest.SAFETY)
            assert made is not None
            return made.set_id

        state, packages = self.node.config.state, self.node.config.packages
        return Restore(self.cluster, self.remote, state, packages, SystemClock(), safety)

    def approval(self, order: Order, ticket: str) -> dict[str, Any]:
        """As an operator writes it and both officers sign it."""
        identity, records = self.cluster.identity(), self.cluster.records(RECORD_KIND)
        stored, _ = sets.choose(sets.read_all(self.remote, identity.signer, records), order.set_id, records)
        named = replace(order, set_id=stored.set_id, manifest_sha256=stored.manifest_sha256)
        expires = f"{datetime.now(UTC) + timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}"
        raw = request(
            "restore", order.partition, cluster=identity.uuid, ticket=ticket, expires=expires, **named.fields()
        )
        signatures = [key.sign(raw) for key in self.officers]
        return {"request": base64.b64encode(raw).decode(), "signatures": signatures}

    def live_keys(self) -> int:
        return sum(1 for row in self.rows() if row["class"] is not None)

    def rows(self) -> list[dict[str, object]]:
        rows: list[dict[str, object]] = self.node.client.call("object_list", partition="acme", invalidated=False)[
            "objects"
        ]
        return rows


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    live = LiveCluster(tmp_path, ("hsm1", "hsm2"))
    try:
        live.add_partition("acme")
        officers = [SshKey.make(tmp_path / name, "-t", "ed25519") for name in ("ada", "grace")]
        rows = [{"name": key.path.name, "key": key.public} for key in officers]
        live.nodes[0].client.call("officers_apply", officers=rows, required=2, check=False)
        node = live.nodes[1]
        age_plugin.install_on_token(tmp_path / "bin", node.home("system") / "softhsm2.conf", monkeypatch)
        credentials, root = make_credentials(tmp_path / "pki"), tmp_path / "store"
        root.mkdir()
        with (
            apache(root, credentials) as url,
            WebDavRemote(url, credentials.ca, credentials.cert, credentials.key) as remote,
        ):
            yield World(live, node, remote, officers)
    finally:
        live.stop()


def test_a_destroyed_key_comes_back_on_every_node_and_signs(world: World) -> None:
    with application(world.node.home("acme"), "acme", PIN) as softhsm:
        softhsm("generate", "signer")
        wait_for(lambda: world.live_keys() == 2, what="the key pair in etcd")
        made = world.backup().run()
        assert made is not None
        assert (made.partitions[0].objects, made.differences) == (3, ())
        require_good(verify_sets(world.remote, world.cluster.identity().signer, world.cluster.records(RECORD_KIND)))

        softhsm("destroy", "signer")
        wait_for(lambda: world.live_keys() == 0, what="the destroyed key pair gone from etcd")
        order = Order("acme", LATEST, selection=Selection(classes=("private", "public")))
        preview = world.restore().preview(order)
        assert preview.plans[0].counts["reactivate"] == 2
        approval = world.approval(order, "REQ-1")
        outcome = world.restore().apply(approval, "operator")
        assert outcome.plans == preview.plans
        assert outcome.record is not None
        assert outcome.record["nodes"] == {node.config.node: "level" for node in world.live.nodes}
    for node in world.live.nodes:
        with application(node.home("acme"), "acme", PIN) as softhsm:
            assert softhsm("find", "signer") == 2
            assert softhsm("sign", "signer")
    assert world.restore().apply(approval, "operator").changed is False


def test_replace_restores_the_pin_and_its_safety_set_undoes_it(world: World) -> None:
    with application(world.node.home("acme"), "acme", PIN) as softhsm:
        softhsm("generate", "signer")
        wait_for(lambda: world.live_keys() == 2, what="the key pair in etcd")
        world.backup().run()
        softhsm("generate", "late")
        wait_for(lambda: world.live_keys() == 4, what="the late key pair in etcd")
    before = world.rows()
    order = Order("acme", LATEST, mode="replace", restore_pin=True)
    outcome = world.restore().apply(world.approval(order, "REQ-1"), "operator")
    assert world.live_keys() == 2
    assert outcome.record is not None
    undo = replace(order, set_id=outcome.record["safety_set"])
    world.restore().apply(world.approval(undo, "REQ-2"), "operator")
    assert {row["digest"] for row in world.rows()} == {row["digest"] for row in before}


def test_side_by_side_is_a_token_of_its_own_name_that_signs_with_the_old_pin(world: World) -> None:
    with application(world.node.home("acme"), "acme", PIN) as softhsm:
        softhsm("generate", "signer")
        wait_for(lambda: world.live_keys() == 2, what="the key pair in etcd")
        world.backup().run()
    order = Order("acme", LATEST, mode="side-by-side", target="acme-copy")
    world.restore().apply(world.approval(order, "REQ-1"), "operator")
    for node in world.live.nodes:
        with application(node.home("acme-copy"), "acme-copy", PIN) as softhsm:
            assert softhsm("sign", "signer")
