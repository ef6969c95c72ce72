"""Before anything is lost: a subscriber's keys, and a signature made with them."""

from __future__ import annotations

from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import keep

DIGEST = "ab" * 32


def test_the_subscribers_keys_are_made_and_sign(cluster: Cluster, session: Callable[..., Application]) -> None:
    application = session()
    for label in ("one", "two"):
        application.call("generate_pair", label=label)
    application.call("generate_rsa_pair", label="rsa")
    application.call("generate_secret", label="three")
    signing = ("one", "two", "rsa")
    keep("signature", {label: application.call("sign", label=label, digest=DIGEST) for label in signing})
    keep("holdings", cluster.await_agreement())


def test_without_a_backup_there_is_nothing_to_restore_and_it_says_so(cluster: Cluster) -> None:
    done = cluster.node("hsm3").attempt("keyfold", "restore", "preview", "--partition", "acme")
    assert done.returncode == 3
    assert "Not done" in done.stderr


def test_the_store_is_empty(cluster: Cluster) -> None:
    assert keyfold(cluster.node("hsm3"), "backup", "list")["sets"] == []
