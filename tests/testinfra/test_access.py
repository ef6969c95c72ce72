"""The subscribers' way in: who gets through to a partition."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from scenario.identities import NOBODY, Identity, foreign, issued, ours, speak
from scenario.machines import machines


def connect(who: Identity, node: str = "hsm1", version: str = "TLSv1_3") -> dict[str, Any]:
    return speak(machines()["app1"], node, 9443, who, version=version)


def let_in(said: dict[str, Any]) -> bool:
    return said.get("answers", False) is True


@pytest.mark.parametrize("node", ["hsm1", "hsm2"])
def test_a_subscriber_reaches_its_partition_on_every_primary_node(node: str) -> None:
    assert let_in(connect(issued("partition-acme"), node))


@pytest.mark.parametrize(
    "who",
    [NOBODY, foreign("partition", "acme")],
    ids=["no certificate", "another authority's certificate"],
)
def test_strangers_are_refused(who: Identity) -> None:
    assert not let_in(connect(who))


@pytest.mark.parametrize(
    ("unit", "name", "hours", "good"),
    [
        ("partition", "acme", 1, True),
        ("partition", "acme", -1, False),
        ("node", "acme", 1, False),
        ("store", "acme", 1, False),
        ("partition", "nobody", 1, False),
    ],
    ids=["good", "expired", "a node's", "the store's", "no such partition's"],
)
def test_only_a_good_certificate_of_a_partition_gets_in(unit: str, name: str, hours: int, good: bool) -> None:
    """All signed by the cluster's own authority: what differs is all that can make the difference."""
    assert let_in(connect(ours(unit, name, valid_for=timedelta(hours=hours)))) is good


@pytest.mark.parametrize("name", ["store-writer-hsm3", "etcd-client-hsm3", "access-hsm2"])
def test_the_clusters_other_certificates_are_refused(name: str) -> None:
    assert not let_in(connect(issued(name)))


def test_old_tls_is_refused() -> None:
    assert not let_in(connect(issued("partition-acme"), version="TLSv1_2"))


def test_the_backup_site_serves_no_subscribers() -> None:
    assert machines()["hsm3"].run("ss", "-Htln", "sport = :9443") == ""
