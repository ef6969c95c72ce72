"""Before anything is lost: keys, signatures made with them, a destroyed key, and a backup of it all."""

from __future__ import annotations

from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import keep

DIGEST = "ab" * 32


def test_the_subscribers_keys_are_made_and_sign(cluster: Cluster, session: Callable[..., Application]) -> None:
    application = session()
    for label in ("one", "gone"):
        application.call("generate_pair", label=label)
    application.call("generate_rsa_pair", label="rsa")
    keep("signature", {label: application.call("sign", label=label, digest=DIGEST) for label in ("one", "rsa")})
    for cls, label in application.call("labels"):
        if label == "gone":
            application.call("destroy", cls=cls, label=label)
    keep("holdings", cluster.await_agreement())
    keep("invalidated", invalidated(cluster))
    assert len(invalidated(cluster)) == 2


def test_a_set_of_the_first_epoch_is_made(cluster: Cluster) -> None:
    made = keyfold(cluster.node("hsm3"), "backup", "run")["set"]
    assert made["verified"] is True
    keep("cluster", keyfold(cluster.nodes[0], "cluster", "info")["cluster"])
    keep("partitions", partitions(cluster))
    keep("audit", keyfold(cluster.nodes[0], "audit", "verify"))


def invalidated(cluster: Cluster) -> dict[str, str]:
    rows = keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"]
    return {row["file"]: row["digest"] for row in rows}


def partitions(cluster: Cluster) -> dict[str, object]:
    rows = keyfold(cluster.nodes[0], "partition", "list")["partitions"]
    return {row["name"]: row for row in rows}
