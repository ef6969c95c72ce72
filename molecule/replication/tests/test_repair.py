"""Damage to a node's own files: the committed state decides, and comes back by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster

Session = Callable[..., Application]
TOKEN = "/var/lib/keyfold/partitions/acme/tokens/*"


@pytest.fixture
def victim(cluster: Cluster, session: Session, tag: str) -> str:
    """A file's name that all nodes have, out of a key pair made for the test."""
    before = cluster.await_agreement()
    session(cluster.nodes[0]).call("generate_pair", label=f"damaged-{tag}")
    after = cluster.await_agreement()
    return min(after.keys() - before.keys())


DAMAGE = {
    "cut-short": "truncate --size=100 {file}",
    "emptied": "truncate --size=0 {file}",
    "garbage": "head -c 400 /dev/urandom > {file}",
    "token-object-emptied": "truncate --size=0 {token}/token.object",
}


@pytest.mark.parametrize("damage", DAMAGE.values(), ids=DAMAGE)
@pytest.mark.parametrize("node", ["hsm1", "hsm3"])
def test_a_damaged_file_is_repaired(cluster: Cluster, victim: str, node: str, damage: str) -> None:
    before = cluster.await_agreement()
    token = f"$(echo {TOKEN})"
    cluster.node(node).shell(damage.format(file=f"{token}/{victim}", token=token))
    assert cluster.await_agreement() == before


def test_a_wiped_token_directory_is_filled_again(cluster: Cluster, session: Session, tag: str) -> None:
    session(cluster.nodes[0]).call("generate_pair", label=f"survivor-{tag}")
    before = cluster.await_agreement()
    cluster.node("hsm3").shell(f"rm -rf {TOKEN}/*")
    assert cluster.await_agreement() == before
    # A new process, as SoftHSM reads tokens only when it is initialised.
    assert f"survivor-{tag}" in session(cluster.node("hsm3")).labels()
