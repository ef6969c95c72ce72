"""One key was restored by its label: both its halves, and nothing else."""

from __future__ import annotations

import os
from collections.abc import Callable

from scenario.application import Application
from scenario.cluster import Cluster
from scenario.evidence import kept
from scenario.machines import ROOT
from scenario.restoring import apply, signed

DIGEST = "ab" * 32


def test_both_halves_are_back_on_every_node_and_no_other_key(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    cluster.await_agreement()
    for node in (*cluster.nodes, None):
        assert session(node).call("labels") == [["private", "one"], ["public", "one"]]


def test_a_restore_done_already_is_not_done_again(cluster: Cluster) -> None:
    home = ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"]
    before = cluster.await_agreement()
    reply = apply(cluster, signed((home / "restore-one.yml").read_text(), "ada", "grace"))
    assert (reply["changed"], reply["record"]["counts"]["acme"]["reactivate"]) == (False, 2)
    assert cluster.await_agreement() == before


def test_the_subscribers_report_lies_beside_the_request() -> None:
    report = ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"] / "restore-one.yml.report"
    text = report.with_suffix(".report.txt").read_text()
    for words in ("REQ-one", "ada, grace", "2 reactivate", "chargeable     yes", "hsm1 level, hsm2 level, hsm3 level"):
        assert words in text


def test_a_key_made_since_is_what_replace_removes(session: Callable[..., Application]) -> None:
    session().call("generate_secret", label="late")


def test_the_restored_key_verifies_the_old_signature_and_signs(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    application = session()
    assert application.call("verify", label="one", digest=DIGEST, signature=kept("signature")["one"])
    fresh = application.call("sign", label="one", digest=DIGEST)
    assert application.call("verify", label="one", digest=DIGEST, signature=fresh)
