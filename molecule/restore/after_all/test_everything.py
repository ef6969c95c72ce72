"""The partition was restored: exactly what was there at the backup, on every node, with the same PIN."""

from __future__ import annotations

from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import kept

DIGEST = "ab" * 32


def test_every_node_holds_what_it_held_before(cluster: Cluster) -> None:
    assert cluster.await_agreement() == kept("holdings")
    assert keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"] == []


def test_the_old_signatures_verify_on_every_node(cluster: Cluster, session: Callable[..., Application]) -> None:
    for node in (*cluster.nodes, None):
        application = session(node)
        for label, signature in kept("signature").items():
            assert application.call("verify", label=label, digest=DIGEST, signature=signature)


def test_a_further_restore_finds_nothing_to_do(cluster: Cluster) -> None:
    reply = keyfold(cluster.node("hsm3"), "restore", "apply", "--partition", "acme", "--ticket", "REQ-3")
    assert reply["changed"] is False


def test_a_restore_without_a_ticket_is_refused(cluster: Cluster) -> None:
    done = cluster.node("hsm3").attempt("keyfold", "restore", "apply", "--partition", "acme")
    assert done.returncode == 2
