"""After reactivate.yml: the key pair is live on every node, and only it."""

from __future__ import annotations

from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import kept
from scenario.waiting import wait_for

DIGEST = "ab" * 32


def test_the_key_pair_verifies_what_it_signed_and_signs_on_every_node(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    cluster.await_agreement()
    for place in (*cluster.nodes, None):
        application = session(place)
        assert application.call("verify", label="mistake", digest=DIGEST, signature=kept("signature"))
        application.call("sign", label="mistake", digest=DIGEST)
        assert "regret" not in application.labels()


def test_it_is_invalidated_no_more_and_recorded(cluster: Cluster) -> None:
    left = keyfold(cluster.nodes[2], "object", "list", "acme", "--invalidated")["objects"]
    assert {bytes.fromhex(one["label"]).decode() for one in left} == {"regret"}
    wait_for(lambda: not keyfold(cluster.nodes[0], "status")["audit"]["pending"], "nothing pending")
    entries = keyfold(cluster.nodes[0], "audit", "list", "--partition=acme")["entries"]
    assert [entry["officers"] for entry in entries if entry["what"] == "reactivate"] == [["ada", "grace"]]
