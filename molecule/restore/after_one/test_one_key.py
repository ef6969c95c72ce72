"""One key was restored by its label: both its halves, and nothing else."""

from __future__ import annotations

from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster
from scenario.evidence import kept

DIGEST = "ab" * 32


def test_both_halves_are_back_on_every_node_and_no_other_key(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    cluster.await_agreement()
    for node in (*cluster.nodes, None):
        assert session(node).call("labels") == [["private", "one"], ["public", "one"]]


def test_the_restored_key_verifies_the_old_signature_and_signs(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    application = session()
    assert application.call("verify", label="one", digest=DIGEST, signature=kept("signature")["one"])
    fresh = application.call("sign", label="one", digest=DIGEST)
    assert application.call("verify", label="one", digest=DIGEST, signature=fresh)
