"""The partition was restored: exactly what was there at the backup, on every node, with the same PIN."""

from __future__ import annotations

import json
import os
from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import kept
from scenario.leaks import ALLOWED, known_secrets, where
from scenario.machines import ROOT
from scenario.restoring import apply, draft, signed

DIGEST = "ab" * 32


def test_every_node_holds_what_it_held_before(cluster: Cluster) -> None:
    assert cluster.await_agreement() == kept("holdings")
    (late,) = keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"]
    assert bytes.fromhex(late["label"]) == b"late"


def test_what_replace_took_away_is_in_its_safety_set(cluster: Cluster) -> None:
    report = ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"] / "restore-all.yml.report.json"
    safety = json.loads(report.read_text())["safety_set"]
    assert keyfold(cluster.node("hsm3"), "backup", "verify", safety)["ok"]
    reply = keyfold(
        cluster.node("hsm3"), "restore", "preview", "--partition", "acme", "--set", safety, "--mode", "replace"
    )
    assert (reply["counts"]["reactivate"], reply["counts"]["remove"]) == (1, 5)


def test_the_old_signatures_verify_on_every_node_and_the_keys_sign(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    for node in (*cluster.nodes, None):
        application = session(node)
        for label, signature in kept("signature").items():
            assert application.call("verify", label=label, digest=DIGEST, signature=signature)
            fresh = application.call("sign", label=label, digest=DIGEST)
            assert application.call("verify", label=label, digest=DIGEST, signature=fresh)


def test_a_further_restore_finds_nothing_to_do(cluster: Cluster) -> None:
    reply = apply(cluster, signed(draft(cluster, "--partition", "acme"), "ada", "grace"))
    assert (reply["changed"], reply["record"]) == (False, None)


def test_a_restore_without_a_request_is_refused(cluster: Cluster) -> None:
    done = cluster.node("hsm3").attempt("keyfold", "restore", "apply")
    assert done.returncode == 2


@pytest.mark.parametrize("host", ["hsm1", "hsm2", "hsm3", "store1", "app1"])
def test_backup_and_restore_left_no_secret_on_any_machine(cluster: Cluster, host: str) -> None:
    machine = next(known for known in (*cluster.nodes, cluster.store, cluster.app) if known.name == host)
    assert where(machine, known_secrets()) - ALLOWED == set()


def test_the_scenarios_output_holds_no_secret() -> None:
    (log,) = (ROOT / ".keyfold/logs").glob(f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}.out")
    text = log.read_text(errors="replace")
    assert "Show what was restored" in text
    assert [secret[:2] for secret in known_secrets() if secret in text] == []
