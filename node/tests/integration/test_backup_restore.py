"""Backup and restore with nothing in memory: agents over etcd, SoftHSM, stock age, the token's key, WebDAV over TLS."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import age_plugin
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.softhsm_application import application
from support.webdav_server import make_credentials, serve, webdav_app

from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.backup.sets import LATEST, RECORD_KIND
from keyfold.backup.verify import require_good, verify_sets
from keyfold.clock import SystemClock
from keyfold.config import credential
from keyfold.custody.signing import sign
from keyfold.remote import Remote
from keyfold.remote.webdav import WebDavRemote
from keyfold.restore.run import Request, Restore
from keyfold.restore.select import Selection

pytestmark = pytest.mark.container


@dataclass
class World:
    live: LiveCluster
    node: LiveNode
    remote: Remote

    @property
    def cluster(self) -> ClusterState:
        return ClusterState(self.node.client)

    def backup(self) -> Backup:
        def sign_(message: bytes, epoch: int) -> bytes:
            return sign(self.node.home("system"), credential("system.pin"), message, epoch)

        return Backup(self.cluster, self.remote, sign_, self.node.config, SystemClock())

    def restore(self) -> Restore:
        return Restore(self.cluster, self.remote, self.node.config.state, SystemClock())

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
        node = live.nodes[1]
        age_plugin.install_on_token(tmp_path / "bin", node.home("system") / "softhsm2.conf", monkeypatch)
        credentials, root = make_credentials(tmp_path / "pki"), tmp_path / "store"
        root.mkdir()
        with (
            serve(webdav_app(root), credentials) as url,
            WebDavRemote(url, credentials.ca, credentials.cert, credentials.key) as remote,
        ):
            yield World(live, node, remote)
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
        request = Request("acme", LATEST, Selection(classes=("private", "public")))
        preview = world.restore().preview(request)
        assert preview.plan.counts == {"add": 0, "reactivate": 2, "changed": 0, "untouched": 0}
        outcome = world.restore().apply(request, "REQ-1", "operator")
        assert outcome.plan == preview.plan
        assert outcome.revision is not None
        world.live.wait("acme", outcome.revision)
    for node in world.live.nodes:
        with application(node.home("acme"), "acme", PIN) as softhsm:
            assert softhsm("find", "signer") == 2
            assert softhsm("sign", "signer")
    assert world.restore().apply(request, "REQ-1", "operator").revision is None
