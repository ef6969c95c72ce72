"""What is done anywhere is in one signed chain and in every node's journal; officers sign with plain ssh-keygen."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import yaml
from scenario.application import Application
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.machines import Machine, controller_directory
from scenario.waiting import wait_for

from lab.officers import sign

Session = Callable[..., Application]
UNAPPROVED = 13


def journal(node: Machine, seq: int) -> list[dict[str, Any]]:
    """What the node's journal has of one entry, with all its fields."""
    lines = node.run("journalctl", "--no-pager", "--output=json", "--all", f"KEYFOLD_AUDIT_SEQ={seq}").splitlines()
    return [json.loads(line) for line in lines]


def test_a_new_keys_entry_is_linked_soon_and_in_every_nodes_journal(
    cluster: Cluster, session: Session, tag: str
) -> None:
    one, two, _ = cluster.nodes
    before = keyfold(two, "status")["audit"]["entries"]
    session(one).call("generate_pair", label=f"audited-{tag}")

    def entry() -> dict[str, Any] | None:
        rows = keyfold(two, "audit", "list", f"--since={before + 1}", "--partition=acme")["entries"]
        return next((row for row in rows if row["what"] == "commit create" and row["node"] == "hsm1"), None)

    found = wait_for(entry, "the entry")
    assert len(found["files"]) == 2
    for node in cluster.nodes:
        (logged, *_) = wait_for(lambda node=node: journal(node, found["seq"]), f"{node.name}'s journal")
        assert logged["KEYFOLD_WHAT"] == "commit create"
        assert logged["KEYFOLD_PARTITION"] == "acme"
        assert json.loads(logged["KEYFOLD_AUDIT_ENTRY"])["seq"] == found["seq"]


def test_every_node_proves_the_same_chain_from_genesis_on(cluster: Cluster) -> None:
    wait_for(lambda: not keyfold(cluster.nodes[0], "status")["audit"]["pending"], "nothing pending")
    assert keyfold(cluster.nodes[0], "audit", "list")["entries"][0]["what"] == "genesis"
    anchor = keyfold(cluster.nodes[0], "audit", "verify")
    for node in cluster.nodes:
        expected = f"--expect={anchor['entries']}:{anchor['hash']}"
        assert keyfold(node, "audit", "verify", expected)["entries"] >= anchor["entries"]


@pytest.fixture
def signed(cluster: Cluster, tmp_path: Path) -> Callable[..., tuple[bytes, dict[str, str]]]:
    """A request and signatures by these officers, with the keys that the inventory's lookup made."""

    def make(*officers: str, **own: Any) -> tuple[bytes, dict[str, str]]:
        expires = datetime.now(UTC) + timedelta(hours=1)
        fields = {
            "kind": "purge",
            "cluster": keyfold(cluster.nodes[0], "cluster", "info")["cluster"]["uuid"],
            "partition": "acme",
            "ticket": "REQ-1",
            "reason": "a test",
            "requested_by": "tester",
            "expires": expires.isoformat(timespec="seconds").replace("+00:00", "Z"),
            **own,
        }
        raw = yaml.safe_dump(fields).encode()
        return raw, {name: sign(controller_directory(), name, raw) for name in officers}

    return make


def put(node: Machine, raw: bytes, signatures: dict[str, str], tag: str) -> str:
    """The files as an operator would lay them on a node; the request's path."""
    path = f"/root/request-{tag}.yml"
    node.shell(f"cat >{path}", stdin=raw.decode())
    for name, signature in signatures.items():
        node.shell(f"cat >{path}.{name}.sig", stdin=signature)
    return path


def test_the_inventorys_officers_are_the_clusters_on_every_node(cluster: Cluster) -> None:
    for node in cluster.nodes:
        listed = keyfold(node, "officers", "list")
        assert ([row["name"] for row in listed["officers"]], listed["required"]) == (["ada", "grace"], 2)


def test_a_request_is_approved_when_enough_officers_have_signed_exactly_it(
    cluster: Cluster, signed: Callable[..., tuple[bytes, dict[str, str]]], tag: str
) -> None:
    node = cluster.nodes[1]
    raw, signatures = signed("ada", "grace", objects=["a.object"])
    one_only = put(node, raw, {"ada": signatures["ada"]}, f"{tag}-1")
    with pytest.raises(CommandRefused) as refused:
        keyfold(node, "approval", "check", one_only)
    assert refused.value.exit_code == UNAPPROVED
    assert "signed by ada; needed: 2 of ada, grace" in str(refused.value)
    both = put(node, raw, signatures, f"{tag}-2")
    assert keyfold(node, "approval", "check", both)["signed_by"] == ["ada", "grace"]
    altered = put(node, raw + b"# one more thing\n", signatures, f"{tag}-3")
    with pytest.raises(CommandRefused) as refused:
        keyfold(node, "approval", "check", altered)
    assert "signed something else than this file" in str(refused.value)
