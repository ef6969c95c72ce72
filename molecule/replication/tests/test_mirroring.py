"""What is done on one node, or over the network, is there for applications that already run on every node."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario.application import SOFTHSM, Application, Pkcs11Error
from scenario.cluster import Cluster
from scenario.waiting import wait_for

DIGEST = bytes(range(32)).hex()
NODES = ("hsm1", "hsm2", "hsm3")
Session = Callable[..., Application]


@pytest.fixture
def readers(cluster: Cluster, session: Session) -> list[Application]:
    """One running application on each node."""
    return [session(node) for node in cluster.nodes]


@pytest.fixture(autouse=True)
def agreement(cluster: Cluster) -> object:
    """Whatever a test did: at its end all three nodes and etcd hold the same."""
    yield
    cluster.await_agreement()


def await_pair(label: str, readers: list[Application]) -> None:
    """Until each of them finds both halves."""
    for reader in readers:
        for half in ("private", "public"):
            there = f"{label}, {half}, on {reader.machine.name}"
            wait_for(lambda reader=reader, half=half: label in reader.labels(half), there, pause_seconds=0.02)


@pytest.mark.parametrize("writer", [*NODES, "app1"])
def test_a_key_pair_made_anywhere_signs_on_every_node(
    cluster: Cluster, session: Session, readers: list[Application], tag: str, writer: str
) -> None:
    label = f"made-on-{writer}-{tag}"
    session(None if writer == "app1" else cluster.node(writer)).call("generate_pair", label=label)
    await_pair(label, readers)
    signatures = [reader.call("sign", label=label, digest=DIGEST) for reader in readers]
    # Each node's signature, checked on the next one: it is the same key.
    for reader, signature in zip([*readers[1:], readers[0]], signatures, strict=True):
        assert reader.call("verify", label=label, digest=DIGEST, signature=signature)


def test_a_key_made_on_a_node_signs_over_the_network(cluster: Cluster, session: Session, tag: str) -> None:
    label = f"for-the-network-{tag}"
    subscriber = session()
    node = session(cluster.node("hsm3"))
    node.call("generate_pair", label=label)
    wait_for(lambda: label in subscriber.labels(), "the key", pause_seconds=0.02)
    signature = subscriber.call("sign", label=label, digest=DIGEST)
    assert node.call("verify", label=label, digest=DIGEST, signature=signature)


@pytest.mark.parametrize("writer", NODES)
def test_a_new_label_is_seen_by_running_applications(
    cluster: Cluster, session: Session, readers: list[Application], tag: str, writer: str
) -> None:
    changing = session(cluster.node(writer))
    changing.call("generate_secret", label=f"old-{tag}")
    changing.call("relabel", cls="secret", label=f"old-{tag}", to=f"new-{tag}")
    for reader in readers:
        wait_for(lambda reader=reader: f"new-{tag}" in reader.labels("secret"), "the new label", pause_seconds=0.02)
        assert f"old-{tag}" not in reader.labels("secret")


@pytest.mark.parametrize("writer", NODES)
def test_a_destroyed_key_is_gone_everywhere(
    cluster: Cluster, session: Session, readers: list[Application], tag: str, writer: str
) -> None:
    label = f"doomed-on-{writer}-{tag}"
    session(cluster.nodes[0]).call("generate_pair", label=label)
    destroying = session(cluster.node(writer))
    await_pair(label, [destroying, *readers])
    destroying.call("destroy", cls="private", label=label)
    for reader in readers:
        wait_for(lambda reader=reader: label not in reader.labels(), "the deletion", pause_seconds=0.02)
    for reader in readers:
        assert label in reader.labels("public"), "only the private half was destroyed"
        with pytest.raises(Pkcs11Error, match="no such object"):
            reader.call("sign", label=label, digest=DIGEST)


def test_a_pin_changed_on_one_node_is_the_pin_everywhere(cluster: Cluster) -> None:
    old, new = cluster.pin(), "another-pin-of-acme"
    with cluster.application(cluster.nodes[0]) as owner:
        owner.call("set_pin", old=old, new=new)
        try:
            for place in (*cluster.nodes, None):
                opened = Application.on_node(place, "acme") if place else Application.remote(cluster.app, "acme")
                with opened as application:
                    wait_for(lambda application=application: _opens(application, new), "the new PIN", 10.0)
                    assert not _opens(application, old)
        finally:
            owner.call("set_pin", old=new, new=old)
    for node in cluster.nodes:
        with Application.on_node(node, "acme") as application:
            wait_for(lambda application=application: _opens(application, old), "the old PIN again", 10.0)


def _opens(application: Application, pin: str) -> bool:
    try:
        application.call("login", pin=pin)
    except Pkcs11Error as error:
        if error.name == "CKR_PIN_INCORRECT":
            return False
        raise
    return True


@pytest.mark.parametrize("writer", NODES)
def test_a_change_made_without_the_module_is_picked_up(
    cluster: Cluster, session: Session, readers: list[Application], tag: str, writer: str
) -> None:
    """Somebody loads libsofthsm2.so directly on a node."""
    direct = session(cluster.node(writer), module=SOFTHSM)
    direct.call("generate_pair", label=f"direct-{tag}")
    direct.call("generate_secret", label=f"doomed-{tag}")
    for reader in readers:
        wait_for(lambda reader=reader: f"direct-{tag}" in reader.labels(), "the key", 10.0, 0.05)
        wait_for(lambda reader=reader: f"doomed-{tag}" in reader.labels("secret"), "the key", 10.0, 0.05)
    direct.call("destroy", cls="secret", label=f"doomed-{tag}")
    for reader in readers:
        wait_for(lambda reader=reader: f"doomed-{tag}" not in reader.labels("secret"), "deletion", 10.0, 0.05)
