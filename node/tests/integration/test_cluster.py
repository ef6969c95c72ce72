"""Agents, etcd, SoftHSM and keyfold-pkcs11.so together, without systemd."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for

from keyfold.errors import KeyfoldError

pytestmark = pytest.mark.container

MODULE = os.environ.get("KEYFOLD_PKCS11_MODULE", str(Path(__file__).parents[2] / "pkcs11" / "keyfold-pkcs11.so"))


@pytest.fixture(scope="module")
def cluster(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveCluster]:
    live = LiveCluster(tmp_path_factory.mktemp("cluster"))
    live.add_partition("acme")
    yield live
    live.stop()


def tool(node: LiveNode, *arguments: str, pin: str = PIN, check: bool = True) -> str:
    """Stock pkcs11-tool on a node, through the module."""
    done = subprocess.run(
        ["pkcs11-tool", "--module", MODULE, "--login", "--pin", pin, *arguments],
        env=node.environment("acme"),
        capture_output=True,
        text=True,
        check=False,
    )
    if check:
        assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr


def labels(node: LiveNode) -> set[str]:
    listed = tool(node, "--list-objects")
    return {line.split(":", 1)[1].strip() for line in listed.splitlines() if line.strip().startswith("label:")}


def test_a_key_pair_generated_on_one_node_is_on_every_node(cluster: LiveCluster) -> None:
    tool(cluster.nodes[0], "--keypairgen", "--key-type", "EC:prime256v1", "--label", "mirrored", "--id", "01")
    for node in cluster.nodes:
        wait_for(lambda node=node: "mirrored" in labels(node), what="the key")
    rows = cluster.nodes[2].client.call("object_list", partition="acme")["objects"]
    mine = [row for row in rows if row["label"] == b"mirrored".hex()]
    assert {row["class"] for row in mine} == {2, 3}
    assert len({row["revision"] for row in mine}) == 1


def test_a_destroyed_key_is_gone_everywhere_and_listed_as_invalidated(cluster: LiveCluster) -> None:
    one, _, three = cluster.nodes
    tool(three, "--keygen", "--key-type", "AES:32", "--label", "doomed", "--id", "02")
    wait_for(lambda: "doomed" in labels(one), what="the key")
    tool(one, "--delete-object", "--type", "secrkey", "--label", "doomed")
    wait_for(lambda: "doomed" not in labels(three), what="the deletion")
    shadows = one.client.call("object_list", partition="acme", invalidated=True)["objects"]
    assert b"doomed".hex() in {row["label"] for row in shadows}


def test_a_new_pin_is_the_pin_on_every_node(cluster: LiveCluster) -> None:
    one, two, _ = cluster.nodes
    tool(one, "--change-pin", "--new-pin", "another-pin")
    wait_for(lambda: "error" not in tool(two, "--list-objects", pin="another-pin", check=False), what="the PIN")
    assert "CKR_PIN_INCORRECT" in tool(two, "--list-objects", check=False)
    tool(two, "--change-pin", "--new-pin", PIN, pin="another-pin")
    wait_for(lambda: "error" not in tool(one, "--list-objects", check=False), what="the PIN")


def test_without_etcd_a_new_key_is_refused_and_nothing_stays_behind_but_keys_go_on_signing(
    cluster: LiveCluster, tmp_path: Path
) -> None:
    one = cluster.nodes[0]
    tool(one, "--keypairgen", "--key-type", "EC:prime256v1", "--label", "signer", "--id", "03")
    before = sorted(path.name for path in one.home("acme").glob("tokens/*/*.object"))
    cluster.etcd.stop()
    try:
        refused = tool(one, "--keygen", "--key-type", "AES:32", "--label", "refused", check=False)
        assert "CKR_DEVICE_ERROR" in refused
        assert sorted(path.name for path in one.home("acme").glob("tokens/*/*.object")) == before
        (tmp_path / "data").write_bytes(b"x" * 32)
        signing = ["--sign", "--mechanism", "ECDSA", "--id", "03", "--input-file", str(tmp_path / "data")]
        tool(one, *signing, "--output-file", str(tmp_path / "signature"))
    finally:
        cluster.etcd.start()
    one.await_level()
    tool(one, "--keygen", "--key-type", "AES:32", "--label", "after")
    for node in cluster.nodes:
        wait_for(lambda node=node: "after" in labels(node), 40, what="the key")


def test_an_agent_that_was_away_catches_up(cluster: LiveCluster) -> None:
    one, two, _ = cluster.nodes
    two.stop()
    tool(one, "--keygen", "--key-type", "AES:32", "--label", "meanwhile")
    two.start()
    wait_for(lambda: "meanwhile" in labels(two), what="the key")
    assert two.client.call("local_digests", partition="acme") == one.client.call("local_digests", partition="acme")


def test_a_wrong_login_changes_nothing_in_etcd(cluster: LiveCluster) -> None:
    one = cluster.nodes[0]
    before = one.client.call("object_list", partition="acme")
    tool(one, "--list-objects", pin="wrong-pin-1", check=False)
    tool(one, "--keygen", "--key-type", "AES:32", "--label", "settled")
    after = {row["file"]: row["revision"] for row in one.client.call("object_list", partition="acme")["objects"]}
    assert all(after[row["file"]] == row["revision"] for row in before["objects"])


def test_a_declaration_applied_again_changes_nothing_and_bad_ones_are_refused_by_name(
    cluster: LiveCluster,
) -> None:
    client = cluster.nodes[1].client
    declared = {"name": "acme", "package": "ECO", "policy": {}}
    (change,) = client.call("partition_apply", partitions=[declared], check=False)["changes"]
    assert change["action"] == "none"
    fresh = {"name": "newer", "package": "ECO"}
    with pytest.raises(KeyfoldError, match="subscriber_key") as keyless:
        client.call("partition_apply", partitions=[fresh], check=True)
    assert keyless.value.code == "invalid"


def test_status_names_every_node_and_its_lag(cluster: LiveCluster) -> None:
    def level() -> bool:
        nodes = cluster.nodes[0].client.call("status")["nodes"]
        return [(row["agent"], row["lag"]) for row in nodes] == [("up", 0)] * 3

    wait_for(level, what="three nodes without lag")
