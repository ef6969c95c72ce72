"""It is the same cluster: identity, keys, PIN, invalidated objects, old signatures; and it goes on."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster, keyfold
from scenario.evidence import kept
from scenario.leaks import ALLOWED, known_secrets, where
from scenario.machines import ROOT

DIGEST = "ab" * 32


def test_every_node_holds_what_it_held_before(cluster: Cluster) -> None:
    assert cluster.await_agreement() == kept("holdings")


def test_what_was_invalidated_still_is(cluster: Cluster) -> None:
    rows = keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"]
    assert {row["file"]: row["digest"] for row in rows} == kept("invalidated")


def test_old_signatures_verify_on_every_node_and_over_the_network_with_the_same_pin(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    for node in (*cluster.nodes, None):
        application = session(node)
        for label, signature in kept("signature").items():
            assert application.call("verify", label=label, digest=DIGEST, signature=signature)
            fresh = application.call("sign", label=label, digest=DIGEST)
            assert application.call("verify", label=label, digest=DIGEST, signature=fresh)
        labels = {label for _, label in application.call("labels")}
        assert "gone" not in labels


def test_the_cluster_is_who_it_was_with_its_keys_of_both_epochs(cluster: Cluster) -> None:
    now, was = keyfold(cluster.nodes[0], "cluster", "info")["cluster"], kept("cluster")
    assert now["backup_epoch"] == 2
    [older] = now["older_backup_keys"]
    for key in ("uuid", "name", "created", "custody", "epoch"):
        assert now[key] == was[key]
    for key in ("backup_recipient", "signing_public_key"):
        assert older[key] == was[key]
    rows = {row["name"]: row for row in keyfold(cluster.nodes[0], "partition", "list")["partitions"]}
    assert rows["acme"] == kept("partitions")["acme"]
    assert rows["sandbox"]["uuid"] != kept("partitions")["sandbox"]["uuid"], "SBX has no backup: made anew by site.yml"


def test_sets_of_both_epochs_are_readable_and_the_next_one_follows_them(cluster: Cluster) -> None:
    hsm3 = cluster.node("hsm3")
    made = keyfold(hsm3, "backup", "run")["set"]
    found = keyfold(hsm3, "backup", "verify")["sets"]
    assert [one["sequence"] for one in found] == [3, 2, 1]
    assert made["set_id"] == found[0]["set_id"]
    for one in found:
        preview = keyfold(hsm3, "restore", "preview", "--partition", "acme", "--set", one["set_id"])
        assert preview["counts"]["untouched"] == len(kept("holdings"))
    kept_keys = keyfold(hsm3, "backup-key", "retire", "--dry-run")
    assert (kept_keys["retired"], kept_keys["kept"]) == ([], [1])


def test_the_audit_chain_goes_on_from_where_the_backup_has_it(cluster: Cluster) -> None:
    was = kept("audit")
    assert was["entries"] > 0
    expected = f"{was['entries']}:{was['hash']}"
    for node in cluster.nodes:
        assert keyfold(node, "audit", "verify", "--expect", expected)["entries"] > was["entries"]
    entries = keyfold(cluster.nodes[0], "audit", "list")["entries"]
    said = [entry["what"] for entry in entries]
    for what in ("genesis", "rotate backup key", "rebuild", "rebuild finished"):
        assert said.count(what) == 1
    assert said.index("rotate backup key") < said.index("rebuild") < said.index("rebuild finished")


@pytest.mark.parametrize("host", ["hsm1", "hsm2", "hsm3", "store1", "app1"])
def test_the_ceremonies_left_no_secret_on_any_machine(cluster: Cluster, host: str) -> None:
    machine = next(known for known in (*cluster.nodes, cluster.store, cluster.app) if known.name == host)
    assert where(machine, known_secrets()) - ALLOWED == set()


def test_the_scenarios_output_holds_no_secret() -> None:
    (log,) = (ROOT / ".keyfold/logs").glob(f"molecule-{os.environ['MOLECULE_SCENARIO_NAME']}.out")
    text = log.read_text(errors="replace")
    assert "Show what came back" in text
    assert [secret[:2] for secret in known_secrets() if secret in text] == []
