"""Keys of offline media in a real token and a real etcd: used, rebuilt with the cluster, and gone for good."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from support import age_plugin
from support.live_cluster import ROOT, LiveCluster, wait_for
from support.media_site import STICK, stick
from support.memory_block import MemoryBlock

from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.clock import SystemClock
from keyfold.config import credential
from keyfold.custody.derive import root_fingerprint
from keyfold.custody.signing import sign
from keyfold.errors import KeyfoldError
from keyfold.media import certificate
from keyfold.media.device import Allowed
from keyfold.media.ending import Ending, register
from keyfold.media.look import verify
from keyfold.media.register import ASKED, Medium
from keyfold.media.write import Wish, Writing
from keyfold.partition.policy import SYSTEM
from keyfold.remote.memory import MemoryRemote
from keyfold.replication import keys
from keyfold.restore.rebuild import Rebuild
from keyfold.store import open_store
from keyfold.store.errors import Compacted

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
class Site:
    """The second node is the backup site's; its token is the one that `age` of this test uses."""

    live: LiveCluster
    store: MemoryRemote
    block: MemoryBlock

    @property
    def node(self) -> Any:
        return self.live.nodes[1]

    def sign(self, message: bytes, epoch: int) -> bytes:
        return sign(self.node.home(SYSTEM), credential("system.pin"), message, epoch)

    def backup(self, remote: Any) -> Backup:
        return Backup(ClusterState(self.node.client), remote, self.sign, self.node.config, SystemClock())

    def write(self) -> Medium:
        writing = Writing(self.node.client, self.block, self.backup, self.sign, self.node.config, SystemClock())
        return writing.write(Wish("vault", STICK, ("acme",), "CHG-1", "a test", "grace", Allowed()))

    def verify(self, medium: Medium) -> None:
        verify(self.node.client, self.block.on(STICK), medium, self.node.config.state)

    def token_files(self) -> set[str]:
        return {path.name for node in self.live.nodes for path in (node.home(SYSTEM) / "tokens").rglob("*.object")}


class Clusters:
    """One after the other; `age` of the test uses the token of the one that was started last."""

    def __init__(self, directory: Path, patch: pytest.MonkeyPatch) -> None:
        self._directory, self._patch = directory, patch
        self.living: list[LiveCluster] = []

    def start(self, name: str, **options: Any) -> LiveCluster:
        live = LiveCluster(self._directory / name, ("hsm1", "hsm2"), cluster_uuid=UUID, **options)
        self.living.append(live)
        conf = live.nodes[1].home(SYSTEM) / "softhsm2.conf"
        age_plugin.install_on_token(self._directory / name / "bin", conf, self._patch)
        return live

    def lose(self, live: LiveCluster) -> None:
        self.living.remove(live)
        live.stop()


@pytest.fixture
def clusters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Clusters]:
    made = Clusters(tmp_path, monkeypatch)
    try:
        yield made
    finally:
        for live in list(made.living):
            made.lose(live)


def site(live: LiveCluster, store: MemoryRemote) -> Site:
    block = MemoryBlock()
    block.plug(stick())
    return Site(live, store, block)


def versions(live: LiveCluster, medium: Medium) -> int:
    """How many (key, revision) of etcd, past ones too, have the key's files or the sealed copy."""
    store = open_store(live.nodes[0].config.etcd)
    wanted = [keys.medium_key(medium.id), *(keys.live(SYSTEM, file) for file in medium.files)]
    found = 0
    for revision in range(1, store.revision() + 1):
        for key in wanted:
            with contextlib.suppress(Compacted):
                found += store.get(key, revision=revision) is not None
    store.close()
    return found


def test_a_destroyed_key_is_in_no_token_no_base_and_no_revision(clusters: Clusters) -> None:
    here = site(clusters.start("one"), MemoryRemote())
    here.live.add_partition("acme")
    medium = here.write()
    here.verify(medium)
    wait_for(lambda: set(medium.files) <= here.token_files(), what="the key on both nodes")
    bases = [node.config.state / "agent" / "base.sqlite" for node in here.live.nodes]
    label = f"keyfold-medium-{medium.id}".encode()
    wait_for(lambda: all(label in _content(base) for base in bases), what="the public half in the bases")
    assert versions(here.live, medium) > 0

    ended = Ending(here.node.client, here.sign, SystemClock()).end(medium, ASKED, by="grace", ticket="CHG-2")
    assert ended.outstanding == ""
    proof = certificate.verify(ended.medium.certificate.encode(), ClusterState(here.node.client).identity().signer)
    assert proof.nodes == ("hsm1", "hsm2")
    assert not set(medium.files) & here.token_files()
    assert versions(here.live, medium) == 0
    assert [label in _content(base) for base in bases] == [False, False]
    with pytest.raises(KeyfoldError, match="is destroyed"):
        here.verify(ended.medium)
    # Believing the register of the day before does not help.
    with pytest.raises(KeyfoldError, match="does not have any more"):
        here.verify(medium)
    for node in here.live.nodes:
        assert node.client.call("object_list", partition=SYSTEM, invalidated=True)["objects"] == []
        assert not list((node.config.state / "agent").glob("medium-*"))


def test_a_medium_that_lives_opens_after_a_rebuild_though_the_backup_keys_rotated(clusters: Clusters) -> None:
    store = MemoryRemote()
    lost = site(clusters.start("lost", custody=CUSTODY), store)
    lost.live.add_partition("acme")
    medium = lost.write()
    lost.live.nodes[0].client.call("backup_key_rotate", root=ROOT.hex(), from_epoch=1)
    wait_for(lambda: _signs(lost, 2), what="the new signing key")
    lost.backup(store).run()
    clusters.lose(lost.live)

    again = site(clusters.start("again", found=False), store)
    again.block = lost.block
    rebuild = Rebuild(again.node.client, store, again.node.config, SystemClock(), again.sign)
    rebuild.run(ROOT, sets.LATEST, CUSTODY)
    again.live.wait_until_level()
    (back,) = register(again.node.client)
    assert (back.id, back.state, back.due) == (medium.id, "active", medium.due)
    wait_for(lambda: set(back.files) <= again.token_files(), what="the medium's key on both nodes")
    again.verify(back)
    ended = Ending(again.node.client, again.sign, SystemClock()).end(back, ASKED)
    assert (ended.outstanding, versions(again.live, back)) == ("", 0)


def _content(base: Path) -> bytes:
    """With its write-ahead log."""
    log = base.with_name(base.name + "-wal")
    return base.read_bytes() + (log.read_bytes() if log.exists() else b"")


def _signs(here: Site, epoch: int) -> bool:
    try:
        return len(here.sign(b"x", epoch)) == 64
    except KeyfoldError:
        return False
