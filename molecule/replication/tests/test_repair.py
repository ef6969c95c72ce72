"""Damage to a node's own files: the committed state decides, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster
from scenario.waiting import wait_for

Session = Callable[..., Application]
TOKEN = "/var/lib/keyfold/partitions/acme/tokens/*"


@pytest.fixture
def victim(cluster: Cluster, session: Session) -> str:
    """A file's name that all nodes have, out of a key pair made for the test."""
    before = cluster.await_agreement()
    session(cluster.nodes[0]).call("generate_pair", label="to-be-damaged")
    after = cluster.await_agreement()
    return min(after.keys() - before.keys())


@pytest.mark.parametrize(
    ("damage", "name"),
    [
        ("truncate --size=100 {file}", "cut short"),
        ("truncate --size=0 {file}", "emptied"),
        ("head -c 400 /dev/urandom > {file}", "overwritten with garbage"),
        ("truncate --size=0 {token}/token.object", "the token's own object emptied"),
    ],
    ids=lambda value: value.replace(" ", "-") if " " not in value[:4] else "",
)
@pytest.mark.parametrize("node", ["hsm1", "hsm3"])
def test_a_damaged_file_is_repaired(cluster: Cluster, victim: str, node: str, damage: str, name: str) -> None:
    before = cluster.await_agreement()
    cluster.node(node).shell(damage.format(file=f"$(echo {TOKEN})/{victim}", token=f"$(echo {TOKEN})"))
    assert cluster.await_agreement() == before


def test_a_wiped_token_directory_is_filled_again(cluster: Cluster, session: Session) -> None:
    session(cluster.nodes[0]).call("generate_pair", label="survivor")
    before = cluster.await_agreement()
    cluster.node("hsm3").shell(f"rm -rf {TOKEN}/*")
    assert cluster.await_agreement() == before
    # A new process, as SoftHSM reads tokens only when it is initialised.
    assert "survivor" in session(cluster.node("hsm3")).labels()
