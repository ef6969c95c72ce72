"""Two nodes change the same object: one wins, the other is told, and no node keeps anything else than etcd has."""

from __future__ import annotations

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from scenario.application import Application, Pkcs11Error
from scenario.cluster import Cluster
from scenario.faults import frozen
from scenario.waiting import wait_for

AGENT = "keyfold-agent.service"
# A change is in the making while the module holds it (docs/interfaces.md §3).
LOCK = "/var/lib/keyfold/partitions/acme/update.lock"
Session = Callable[..., Application]


@pytest.mark.parametrize("change", ["relabel", "destroy"])
def test_a_change_based_on_what_another_node_has_replaced_is_refused(
    cluster: Cluster, session: Session, tag: str, change: str
) -> None:
    """hsm2's agent stands still while its application changes the key: hsm1's change is certain to be the first."""
    one, two, three = (session(node) for node in cluster.nodes)
    one.call("generate_secret", label=f"contested-{tag}")
    for late in (two, three):
        wait_for(lambda late=late: f"contested-{tag}" in late.labels("secret"), "the key", pause_seconds=0.02)
    with ThreadPoolExecutor(max_workers=1) as pool:
        with frozen(cluster.node("hsm2"), AGENT):
            arguments = {"to": f"from-hsm2-{tag}"} if change == "relabel" else {}
            losing = pool.submit(two.call, change, cls="secret", label=f"contested-{tag}", **arguments)
            wait_for(lambda: cluster.node("hsm2").attempt("flock", "-n", LOCK, "true").returncode, "hsm2's change")
            one.call("relabel", cls="secret", label=f"contested-{tag}", to=f"from-hsm1-{tag}")
            assert not losing.done()
        with pytest.raises(Pkcs11Error, match="CKR_"):
            losing.result(timeout=30)
    cluster.await_agreement()
    if change == "destroy":
        # SoftHSM 2.6.1 never looks again at a file that its own process removed: the next process sees it.
        two.call("login", pin=cluster.pin())
    for reader in (one, two, three):
        wait_for(
            lambda reader=reader: f"from-hsm1-{tag}" in reader.labels("secret"),
            "the winner's label",
            pause_seconds=0.02,
        )
        assert not {f"contested-{tag}", f"from-hsm2-{tag}"} & reader.labels("secret")


def test_of_racing_updates_each_is_either_refused_or_the_one_that_later_ones_replaced(
    cluster: Cluster, session: Session, tag: str
) -> None:
    """Applications on all nodes relabel one key again and again: nothing that returned OK is lost but to a later OK."""
    seed = random.randrange(2**32)
    print(f"seed {seed}")
    rng = random.Random(seed)
    session(cluster.nodes[0]).call("generate_pair", label=f"raced-{tag}")
    racers = [session(node) for node in cluster.nodes]
    for racer in racers:
        wait_for(lambda racer=racer: f"raced-{tag}" in racer.labels(), "the key", pause_seconds=0.02)
    order = [rng.random() * 0.02 for _ in range(60)]
    outcomes: list[tuple[str, bool]] = []
    start = threading.Barrier(len(racers))

    def label_now(racer: Application) -> str | None:
        """None for the moment in which another node's change is written under this reader's hands."""
        return next((label for label in racer.labels() if label.startswith(f"raced-{tag}")), None)

    def race(racer: Application) -> None:
        start.wait()
        for number, pause in enumerate(order):
            threading.Event().wait(pause)
            to = f"raced-{tag}-{racer.machine.name}-{number}"
            before = wait_for(lambda: label_now(racer), "the key's label", 5.0, 0.01)
            try:
                racer.call("relabel", cls="private", label=before, to=to)
            except Pkcs11Error:
                outcomes.append((to, False))
            else:
                outcomes.append((to, True))

    threads = [threading.Thread(target=race, args=[racer]) for racer in racers]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    accepted = [to for to, won in outcomes if won]
    print(f"{len(accepted)} of {len(outcomes)} updates were accepted")
    assert len(outcomes) == len(racers) * len(order)
    assert accepted
    cluster.await_agreement()
    final = {label for label in racers[0].labels() if label.startswith(f"raced-{tag}")}
    assert len(final) == 1
    # What all have is some node's last accepted update; one that was refused is nowhere.
    latest = {to.rsplit("-", 1)[0]: to for to in accepted}
    assert final <= set(latest.values())
