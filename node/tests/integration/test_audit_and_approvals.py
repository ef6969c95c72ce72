"""The audit chain and the officers' approvals with real etcd, SoftHSM's own signatures and ssh-keygen's."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.live_cluster import LiveCluster, wait_for
from support.ssh import SshKey

from keyfold import cli
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import Put

pytestmark = pytest.mark.container


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    live = LiveCluster(tmp_path_factory.mktemp("cluster"))
    live.add_partition("acme")
    yield live
    live.stop()


@pytest.fixture
def keyfold(cluster: LiveCluster, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Any:
    """The real command on the second node: arguments in, exit code and JSON out."""
    monkeypatch.setattr("keyfold.config.load", lambda: cluster.nodes[1].config)

    def run(*arguments: str) -> tuple[int, dict[str, Any]]:
        code = cli.main([*arguments, "--json"])
        return code, json.loads(capsys.readouterr().out)

    return run


def audit(cluster: LiveCluster) -> dict[str, Any]:
    summary: dict[str, Any] = cluster.nodes[0].client.call("status")["audit"]
    return summary


def all_linked(cluster: LiveCluster, at_least: int = 1) -> bool:
    seen = audit(cluster)
    return seen["pending"] == 0 and seen["entries"] >= at_least


def record(cluster: LiveCluster, name: str, node: int = 0) -> None:
    cluster.nodes[node].client.call("record_put", kind="test", id=name, value={})


def test_genesis_and_everything_after_it_is_linked_signed_and_proven(cluster: LiveCluster, keyfold: Any) -> None:
    wait_for(lambda: all_linked(cluster, 2), what="the linked chain")
    code, proven = keyfold("audit", "verify")
    assert (code, proven["pending"]) == (0, 0)
    code, listed = keyfold("audit", "list")
    assert [entry["what"] for entry in listed["entries"]][:2] == ["genesis", "partition create"]
    code, listed = keyfold("audit", "list", "--partition", "acme")
    assert {entry["partition"] for entry in listed["entries"]} == {"acme"}


def test_a_change_is_linked_soon_and_shipped_by_every_node(cluster: LiveCluster) -> None:
    wait_for(lambda: all_linked(cluster), what="the linked chain")
    before = audit(cluster)["entries"]
    record(cluster, "soon")
    # Half a second and a signature; the rest is for a machine that is busy with something else.
    wait_for(lambda: audit(cluster)["entries"] > before, 10.0, what="the entry")
    for node in cluster.nodes:
        wait_for(
            lambda node=node: any(row.get("KEYFOLD_AUDIT_SEQ") == str(before + 1) for row in node.journal.entries),
            what=f"the entry in {node.config.node}'s journal",
        )


def test_the_chain_goes_on_when_its_writer_dies(cluster: LiveCluster, keyfold: Any) -> None:
    store = cluster.nodes[0].service.store
    wait_for(lambda: store.get(keys.AUDIT_WRITER), what="a writer")
    holder = store.get(keys.AUDIT_WRITER)
    assert holder is not None
    writer = next(node for node in cluster.nodes if node.config.node == holder.value.decode())
    witness = next(index for index, node in enumerate(cluster.nodes) if node is not writer)
    writer.stop()
    try:
        for number in range(100):
            record(cluster, f"meanwhile-{number}", witness)
        client = cluster.nodes[witness].client
        wait_for(lambda: client.call("status")["audit"]["pending"] == 0, 30, what="another writer")
    finally:
        writer.start()
    writer.await_level()
    assert keyfold("audit", "verify")[0] == 0


def test_an_altered_entry_is_named_and_the_exit_code_says_refused(cluster: LiveCluster, keyfold: Any) -> None:
    wait_for(lambda: all_linked(cluster, 2), what="the linked chain")
    store = cluster.nodes[0].service.store
    found = store.get(keys.audit_entry(2))
    assert found is not None
    store.txn((), [Put(found.key, found.value.replace(b"acme", b"evil"))])
    try:
        code, reply = keyfold("audit", "verify")
        assert (code, reply["code"]) == (8, "refused")
        assert "broken at entry 2: its signature" in reply["what"]
    finally:
        store.txn((), [Put(found.key, found.value)])
    assert keyfold("audit", "verify")[0] == 0
    assert keyfold("audit", "verify", "--public-key", "00" * 32)[0] == 8
    assert keyfold("audit", "verify", "--expect", "1:" + "0" * 64)[0] == 8


class TestApprovals:
    @pytest.fixture(scope="class")
    def officers(self, tmp_path_factory: pytest.TempPathFactory) -> dict[str, SshKey]:
        home = tmp_path_factory.mktemp("officers")
        kinds = {"ada": "ed25519", "grace": "ecdsa", "linus": "rsa"}
        return {name: SshKey.make(home / name, "-t", kind) for name, kind in kinds.items()}

    def declaration(self, officers: dict[str, SshKey], required: int) -> dict[str, Any]:
        rows = [{"name": name, "key": " ".join(key.public.split()[:2])} for name, key in sorted(officers.items())]
        return {"officers": rows, "required": required}

    def test_officers_are_declared_once_for_free_and_changed_by_approval_alone(
        self, cluster: LiveCluster, officers: dict[str, SshKey], keyfold: Any, tmp_path: Path
    ) -> None:
        client = cluster.nodes[0].client
        declared, stronger = self.declaration(officers, 2), self.declaration(officers, 3)
        assert client.call("officers_apply", **declared, check=False)["action"] == "create"
        assert client.call("officers_apply", **declared, check=False)["action"] == "none"
        with pytest.raises(KeyfoldError) as refused:
            client.call("officers_apply", **stronger, check=False)
        assert refused.value.exit_code == 13
        raw = self.request(cluster, stronger)
        file = tmp_path / "change.yml"
        file.write_bytes(raw)
        Path(f"{file}.ada.sig").write_text(officers["ada"].sign(raw))
        code, reply = keyfold("approval", "check", str(file))
        assert (code, "signed by ada; needed: 2 of ada, grace, linus" in reply["what"]) == (13, True)
        Path(f"{file}.linus.sig").write_text(officers["linus"].sign(raw))
        assert keyfold("approval", "check", str(file))[0] == 0
        signatures = [officers[name].sign(raw) for name in ("ada", "linus")]
        given = {"request": base64.b64encode(raw).decode(), "signatures": signatures}
        done = cluster.nodes[2].client.call("officers_apply", **stronger, approval=given, check=False)
        assert done["approved_by"] == ["ada", "linus"]
        assert client.call("officers_list")["required"] == 3
        code, shown = keyfold("approval", "show", str(file))
        assert code == 0
        assert any("it was used at" in problem for problem in shown["problems"])
        wait_for(lambda: all_linked(cluster), what="the linked chain")
        _, listed = keyfold("audit", "list")
        assert listed["entries"][-1]["approved_by"] == ["ada", "linus"]

    def request(self, cluster: LiveCluster, own: dict[str, Any]) -> bytes:
        moment = cluster.nodes[0].service.clock.utc()
        fields = {
            "kind": "officers",
            "cluster": cluster.uuid,
            "ticket": "T-1",
            "reason": "one more has to agree from now on",
            "requested_by": "operator",
            "expires": stamp(moment + timedelta(hours=1)),
            **own,
        }
        return yaml.safe_dump(fields).encode()
