"""A drill with nothing in memory: etcd, SoftHSM, stock age, the token's key, WebDAV over TLS."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support import age_plugin
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.softhsm_application import application
from support.webdav_server import make_credentials
from support.webdav_servers import apache

import keyfold
from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.backup.run import Backup
from keyfold.clock import SystemClock
from keyfold.config import credential
from keyfold.custody.signing import sign
from keyfold.drill import canary
from keyfold.drill.canary import Canary
from keyfold.drill.evidence import Evidence, verify
from keyfold.drill.hsm import SoftHsm
from keyfold.drill.run import RECORD_KIND, Drill
from keyfold.remote import Remote
from keyfold.remote.webdav import WebDavRemote

pytestmark = pytest.mark.container

# The module that commits has its places in /run, where this cluster is not: the agent notices the key by itself.
_PLAIN = "from keyfold.drill import worker\nworker._become_the_partition = lambda conf: None\nworker.main()"


class PlainSoftHsm(SoftHsm):
    def make_key(self, home: Path, label: str, pin: str) -> bytes:
        request = {"op": "make_key", "conf": str(home / "softhsm2.conf"), "label": label, "pin": pin}
        done = subprocess.run(
            [sys.executable, "-c", _PLAIN],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            check=True,
            env={"PYTHONPATH": str(Path(keyfold.__file__).parents[1])},
        )
        return bytes.fromhex(json.loads(done.stdout)["public_key"])


@dataclass
class World:
    live: LiveCluster
    node: LiveNode
    remote: Remote
    root: Path

    @property
    def cluster(self) -> ClusterState:
        return ClusterState(self.node.client)

    def sign(self, message: bytes, epoch: int) -> bytes:
        return sign(self.node.home("system"), credential("system.pin"), message, epoch)

    def backup(self) -> Manifest:
        made = Backup(self.cluster, self.remote, self.sign, self.node.config, SystemClock()).run()
        assert made is not None
        return made

    def drill(self) -> Evidence:
        return Drill(self.node.client, self.remote, self.sign, SoftHsm(), self.node.config, SystemClock()).run()

    def keys(self, partition: str) -> int:
        rows = self.node.client.call("object_list", partition=partition, invalidated=False)["objects"]
        return sum(1 for row in rows if row["class"] is not None)


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
            apache(root, credentials) as url,
            WebDavRemote(url, credentials.ca, credentials.cert, credentials.key) as remote,
        ):
            made = World(live, node, remote, root)
            maker = Canary(node.client, node.config, SystemClock(), made.sign, PlainSoftHsm())
            assert maker.prepare() is True
            assert maker.prepare() is False
            wait_for(lambda: made.keys(canary.PARTITION) == 2, what="the canary's key pair in etcd")
            yield made
    finally:
        live.stop()


def test_the_restored_canary_signs_in_a_scratch_softhsm_and_the_live_tokens_are_not_touched(world: World) -> None:
    with application(world.node.home("acme"), "acme", PIN) as softhsm:
        softhsm("generate", "signer")
        wait_for(lambda: world.keys("acme") == 2, what="the key pair in etcd")
    made = world.backup()
    before = world.node.client.call("local_digests", partition="acme")["digests"]
    found = world.drill()
    assert found.problem == ""
    assert {one.problem for one in found.partitions} == {""}
    assert found.passed
    *partitions, cluster = found.partitions
    assert [(one.name, one.objects) for one in partitions] == [("acme", 3), (canary.PARTITION, 3)]
    assert (cluster.name, cluster.objects) == (made.cluster[0].name, made.cluster[0].objects)
    assert found.set_id == made.set_id
    assert world.node.client.call("local_digests", partition="acme")["digests"] == before
    assert not list((world.node.config.state / "spool").glob("drill-*"))
    document = world.cluster.records(RECORD_KIND)[found.drill_id]["document"].encode()
    keys = {name: row["public_key"] for name, row in world.cluster.records(canary.RECORD_KIND).items()}
    assert verify(document, world.cluster.identity().signer, keys).passed

    (archive,) = (world.root / made.cluster_uuid / made.set_id).glob("acme-*.age")
    content = archive.read_bytes()
    archive.write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    worse = world.drill()
    assert not worse.passed
    assert [bool(one.problem) for one in worse.partitions] == [True, False, False]
