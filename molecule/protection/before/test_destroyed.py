"""A subscriber's mistakes, a full partition, and somebody who guesses."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario.application import Application, Pkcs11Error
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.evidence import keep
from scenario.machines import controller_directory

from lab.handover import opened, subscriber_key

DIGEST = "ab" * 32


def declare(cluster: Cluster, name: str, **policy: int) -> str:
    """On the first node, whose command the playbook runs too; the user PIN, as the subscriber opens it."""
    home = controller_directory()
    declared = {
        "partitions": [{"name": name, "package": "ECO", "policy": policy, "subscriber_key": subscriber_key(home)}]
    }
    keyfold(cluster.nodes[0], "partition", "apply", stdin=json.dumps(declared))
    cluster.await_agreement(name)
    sealed = keyfold(cluster.nodes[0], "partition", "handover", name)["handover"][name]["user"]
    return opened(home, sealed)


def row(cluster: Cluster, name: str) -> dict[str, object]:
    rows = keyfold(cluster.nodes[1], "partition", "list")["partitions"]
    return next(dict(one) for one in rows if one["name"] == name)


def test_destroyed_keys_are_listed_and_counted_as_invalidated(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    application = session()
    for label in ("mistake", "regret"):
        application.call("generate_pair", label=label)
    keep("signature", application.call("sign", label="mistake", digest=DIGEST))
    before = row(cluster, "acme")
    for label in ("mistake", "regret"):
        for cls in ("private", "public"):
            application.call("destroy", cls=cls, label=label)
    kept = keyfold(cluster.nodes[1], "object", "list", "acme", "--invalidated")["objects"]
    assert sorted(bytes.fromhex(one["label"]).decode() for one in kept) == ["mistake"] * 2 + ["regret"] * 2
    assert all(one["expires_at"] > one["invalidated_at"] for one in kept)
    after = row(cluster, "acme")
    assert after["invalidated_bytes"] == sum(one["size"] for one in kept)
    assert after["live_bytes"] + after["invalidated_bytes"] == before["live_bytes"] + before["invalidated_bytes"]  # type: ignore[operator]


@pytest.mark.parametrize("verb", ["reactivate", "purge"])
def test_nothing_happens_without_the_officers(cluster: Cluster, verb: str) -> None:
    planned = keyfold(cluster.nodes[0], "object", verb, "acme", "--label=mistake", "--dry-run")
    assert not planned["changed"]
    with pytest.raises(CommandRefused) as refused:
        keyfold(cluster.nodes[0], "object", verb, "acme", "--label=mistake")
    assert refused.value.exit_code == 13


def test_nodes_together_never_pass_a_partitions_quota(cluster: Cluster) -> None:
    pin = declare(cluster, "small", max_size_bytes=6000)

    def fill(number: int) -> bool:
        node = cluster.nodes[number % 3]
        with Application.on_node(node, "small") as application:
            application.call("login", pin=pin)
            try:
                application.call("generate_secret", label=f"k{number}")
            except Pkcs11Error:
                return False
            return True

    with ThreadPoolExecutor(3) as pool:
        made = list(pool.map(fill, range(24)))
    assert True in made
    assert False in made
    objects = keyfold(cluster.nodes[0], "object", "list", "small")["objects"]
    assert row(cluster, "small")["live_bytes"] == sum(one["size"] for one in objects) <= 6000
    assert len(cluster.await_agreement("small")) == len(objects) == made.count(True) + 1


def test_guesses_on_all_nodes_lock_the_login_within_the_stated_bound(cluster: Cluster) -> None:
    declare(cluster, "guarded", max_failures=10)
    with ThreadPoolExecutor(3) as pool:
        through = list(pool.map(lambda node: node.python("login_guesses.py", "guarded", "20", "5"), cluster.nodes))
    assert 10 <= sum(through) <= 10 + 2 * 8
    assert set(row(cluster, "guarded")["locked"]) == {"user"}  # type: ignore[call-overload]
    assert "locked until" in cluster.nodes[2].run("keyfold", "status")
