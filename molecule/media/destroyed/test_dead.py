"""After the operator's early destruction: no node opens a copy that was made in time, and the certificate says why."""

from __future__ import annotations

import json

import pytest
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.media import opens, row, traces
from scenario.restoring import draft


def test_verify_and_restore_say_that_it_is_destroyed(cluster: Cluster) -> None:
    with pytest.raises(CommandRefused, match=r"is destroyed: its key was, on .* \(asked\)"):
        keyfold(cluster.node("hsm3"), "media", "verify", "vault")
    with pytest.raises(CommandRefused, match="is destroyed"):
        draft(cluster, "--medium", "vault", "--partition", "acme")


def test_no_node_opens_a_copy_of_its_archives(cluster: Cluster) -> None:
    medium = row(cluster, "vault")
    for node in cluster.nodes:
        assert not opens(node, medium["recipient"]), node.name
        # Nor is there a trace of the key: not in the token, not in the agent's base.
        assert traces(node, medium) == ""


def test_the_certificate_is_signed_and_complete(cluster: Cluster) -> None:
    medium = row(cluster, "vault")
    fields = json.loads(medium["certificate"].splitlines()[0])
    assert (fields["medium"], fields["because"], fields["ticket"]) == (medium["id"], "asked", "CHG-2")
    assert fields["nodes"] == ["hsm1", "hsm2", "hsm3"]


def test_the_next_destruction_and_the_timer_have_nothing_to_do(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    again = keyfold(node, "media", "destroy", "vault", "--ticket", "CHG-3", "--reason", "again")
    assert (again["changed"], again["would_change"]) == (False, False)
    assert keyfold(node, "media", "expire") == {"ok": True, "changed": False, "media": []}
    keyfold(node, "audit", "verify")
