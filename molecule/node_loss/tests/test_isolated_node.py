"""A node without its peers: it goes on using keys, and promises nothing that it cannot keep."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator

import pytest
from scenario.application import SOFTHSM, Application, Pkcs11Error
from scenario.cluster import Cluster
from scenario.faults import cut_off
from scenario.machines import Machine
from scenario.waiting import wait_for

DIGEST = bytes(range(32)).hex()
# docs/interfaces.md §3: the module itself gives up after 15 s.
COMMIT_DEADLINE_SECONDS = 15.0
Session = Callable[..., Application]


@pytest.fixture
def node(cluster: Cluster) -> Machine:
    cluster.await_level()
    return cluster.nodes[0]


@pytest.fixture
def signer(cluster: Cluster, session: Session, node: Machine, tag: str) -> str:
    """A key pair on all nodes, made before the cut."""
    session(node).call("generate_pair", label=f"signer-{tag}")
    cluster.await_agreement()
    return f"signer-{tag}"


@pytest.fixture(autouse=True)
def agreement(cluster: Cluster) -> Iterator[None]:
    yield
    cluster.await_level()
    cluster.await_agreement()


def token_files(cluster: Cluster, node: Machine) -> dict[str, str]:
    files: dict[str, str] = node.python("node_files.py", "acme", "--files")["files"]
    return files


def test_an_isolated_node_goes_on_signing(cluster: Cluster, session: Session, node: Machine, signer: str) -> None:
    running = session(node)
    with cut_off(node):
        signatures = [running.call("sign", label=signer, digest=DIGEST)]
        # An application that comes only now is served too.
        signatures.append(session(node).call("sign", label=signer, digest=DIGEST))
    elsewhere = session(cluster.nodes[1])
    for signature in signatures:
        assert elsewhere.call("verify", label=signer, digest=DIGEST, signature=signature)


@pytest.mark.parametrize("change", ["create", "relabel", "destroy", "set_pin"])
def test_a_change_on_an_isolated_node_is_refused_in_time_and_leaves_nothing_behind(
    cluster: Cluster, session: Session, node: Machine, signer: str, tag: str, change: str
) -> None:
    application = session(node)
    before = token_files(cluster, node)
    requests = {
        "create": ("generate_pair", {"label": f"refused-{tag}"}),
        "relabel": ("relabel", {"cls": "private", "label": signer, "to": f"refused-{tag}"}),
        "destroy": ("destroy", {"cls": "private", "label": signer}),
        "set_pin": ("set_pin", {"old": cluster.pin(), "new": "a-pin-that-is-refused"}),
    }
    do, arguments = requests[change]
    with cut_off(node, cluster.others(node)):
        begun = time.monotonic()
        with pytest.raises(Pkcs11Error, match="CKR_DEVICE_ERROR"):
            application.call(do, **arguments)
        took = time.monotonic() - begun
        assert token_files(cluster, node) == before
        # The old PIN, the old label, the old key: for whoever opens the token now.
        assert session(node).call("sign", label=signer, digest=DIGEST)
    print(f"{change}: refused after {took:.1f} s")
    assert took < COMMIT_DEADLINE_SECONDS + 1.0
    cluster.await_level()
    # All of it or nothing: an error says that it is not known to be committed. A transaction that the cut caught on its
    # way to etcd's leader may still arrive when the cut heals.
    after = cluster.await_agreement()
    came_late = {"create": 2, "destroy": -1}.get(change, 0)
    assert len(after) in (len(before), len(before) + came_late)


def test_a_change_made_without_the_module_on_an_isolated_node_reaches_the_others_after_healing(
    cluster: Cluster, session: Session, node: Machine, tag: str
) -> None:
    with cut_off(node, cluster.others(node)):
        session(node, module=SOFTHSM).call("generate_pair", label=f"offered-{tag}")
    for other in cluster.others(node):
        reader = session(other)
        wait_for(lambda reader=reader: f"offered-{tag}" in reader.labels(), f"the key on {other.name}")


def test_a_change_made_without_the_module_that_lost_is_kept_under_conflicts(
    cluster: Cluster, session: Session, node: Machine, signer: str, tag: str
) -> None:
    """While the node is away its peers change the same key: theirs is committed, its own is thrown away by nobody."""
    conflicts = "find /var/lib/keyfold/conflicts -name '*.object' | wc -l"
    before = int(node.shell(conflicts))
    with cut_off(node, cluster.others(node)):
        session(node, module=SOFTHSM).call("relabel", cls="private", label=signer, to=f"lost-{tag}")
        session(cluster.nodes[1]).call("relabel", cls="private", label=signer, to=f"won-{tag}")
    cluster.await_level()
    cluster.await_agreement()
    assert f"won-{tag}" in session(node).labels()
    assert int(node.shell(conflicts)) == before + 1
