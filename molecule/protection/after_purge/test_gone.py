"""After purge.yml: no node has the objects, and the lock of the other partition still stands."""

from __future__ import annotations

import pytest
from scenario.cluster import Cluster, CommandRefused, keyfold


def test_what_was_purged_is_not_invalidated_any_more_and_cannot_come_back(cluster: Cluster) -> None:
    for node in cluster.nodes:
        assert keyfold(node, "object", "list", "acme", "--invalidated")["objects"] == []
    with pytest.raises(CommandRefused) as refused:
        keyfold(cluster.nodes[0], "object", "reactivate", "acme", "--label=regret", "--dry-run")
    assert refused.value.exit_code == 3


def test_its_bytes_count_no_more(cluster: Cluster) -> None:
    (acme,) = (one for one in keyfold(cluster.nodes[0], "partition", "list")["partitions"] if one["name"] == "acme")
    assert (acme["invalidated"], acme["invalidated_bytes"]) == (0, 0)


def test_the_nodes_still_agree_and_follow(cluster: Cluster) -> None:
    cluster.await_level()
    cluster.await_agreement()
