"""Keys leave as far as the policy and the keys themselves permit, sealed to the subscriber, and come back usable."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from scenario.cluster import Cluster, CommandRefused
from scenario.machines import controller_directory
from scenario.self_service import SelfService

DIGEST = "5a" * 32


@pytest.fixture
def place(cluster: Cluster, tag: str) -> Iterator[str]:
    """A directory on the subscriber's machine with the subscriber's own key pair."""
    directory = f"/var/tmp/subscriber-{tag}"
    home = controller_directory()
    cluster.app.run("install", "-d", "-m", "0700", "-o", "kf-globex", directory)
    for name in ("subscriber_key", "subscriber_key.pub"):
        target = f"{directory}/{name}"
        # Made first, so that it is at no moment readable by others.
        cluster.app.run("install", "-m", "0600", "-o", "kf-globex", "/dev/null", target)
        cluster.app.run("tee", target, stdin=(home / name).read_text())
    yield directory
    cluster.app.run("rm", "-r", directory)


@pytest.fixture
def globex(cluster: Cluster) -> SelfService:
    return SelfService(cluster.app, "globex")


def test_the_default_policy_lets_no_key_out_and_says_so(cluster: Cluster, tag: str) -> None:
    with cluster.subscriber("acme") as application:
        application.call("generate_pair", label=f"kept-{tag}")
    acme = SelfService(cluster.app, "acme")
    recipient = (controller_directory() / "subscriber_key.pub").read_text().strip()
    with pytest.raises(CommandRefused, match="key_extract") as refused:
        acme.ask(
            *("export", "--to", recipient, "--output", f"/var/tmp/{tag}.age", "--label", f"kept-{tag}"),
            stdin=f"{cluster.pin()}\n",
        )
    assert (refused.value.code, refused.value.exit_code) == ("denied", 11)
    assert cluster.app.attempt("test", "-e", f"/var/tmp/{tag}.age").returncode != 0


def test_a_key_that_was_not_made_extractable_stays_even_where_the_policy_permits(
    cluster: Cluster, globex: SelfService, place: str, tag: str
) -> None:
    with cluster.subscriber("globex") as application:
        application.call("generate_pair", label=f"fixed-{tag}")
    options = ("--to", f"{place}/subscriber_key.pub", "--output", f"{place}/out.age", "--label", f"fixed-{tag}")
    with pytest.raises(CommandRefused, match="CKA_EXTRACTABLE"):
        globex.ask("export", *options, stdin=f"{cluster.pin('globex')}\n")


def test_a_key_that_left_comes_back_after_it_was_destroyed_and_signs_on_every_node(
    cluster: Cluster, globex: SelfService, place: str, tag: str
) -> None:
    label, pin = f"moves-{tag}", f"{cluster.pin('globex')}\n"
    with cluster.subscriber("globex") as application:
        application.call("generate_pair", label=label, extractable=True)
        before = application.call("sign", label=label, digest=DIGEST)
    to = ("--to", f"{place}/subscriber_key.pub", "--output", f"{place}/out.age", "--label", label)
    out = globex.ask("export", *to, stdin=pin)
    assert sorted(row["class"] for row in out["exported"]) == ["private", "public"]
    sealed = cluster.app.run("cat", f"{place}/out.age")
    assert sealed.startswith("-----BEGIN AGE ENCRYPTED FILE-----")
    assert cluster.app.run("stat", "-c", "%a %U", f"{place}/out.age").strip() == "600 kf-globex"
    back = ("import", f"{place}/out.age", "--identity", f"{place}/subscriber_key")
    with pytest.raises(CommandRefused, match=label) as there:
        globex.ask(*back, stdin=pin)
    assert there.value.code == "conflict"
    with cluster.subscriber("globex") as application:
        application.call("destroy", cls="private", label=label)
        application.call("destroy", cls="public", label=label)
    dry = globex.ask(*back, "--dry-run", stdin=pin)
    assert (dry["changed"], len(dry["imported"])) == (False, 2)
    again = globex.ask(*back, stdin=pin)
    assert [(row["label"], row["verified"]) for row in again["imported"]] == [(label, True)] * 2
    cluster.await_agreement("globex")
    for node in cluster.nodes:
        with cluster.application(node, "globex") as application:
            assert application.call("verify", label=label, digest=DIGEST, signature=before)
            signature = application.call("sign", label=label, digest=DIGEST)
            assert application.call("verify", label=label, digest=DIGEST, signature=signature)


def test_a_bundle_opens_to_no_other_key_and_a_wrong_pin_gets_nothing(
    cluster: Cluster, globex: SelfService, place: str, tag: str
) -> None:
    with cluster.subscriber("globex") as application:
        application.call("generate_pair", label=f"sealed-{tag}", extractable=True)
    to = ("--to", f"{place}/subscriber_key.pub", "--output", f"{place}/out.age", "--label", f"sealed-{tag}")
    with pytest.raises(CommandRefused, match="CKR_PIN_INCORRECT") as wrong:
        globex.ask("export", *to, stdin="wrong-pin-1\n")
    assert wrong.value.code == "denied"
    globex.ask("export", *to, stdin=f"{cluster.pin('globex')}\n")
    cluster.app.run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", f"{place}/other", user="kf-globex")
    with pytest.raises(CommandRefused) as refused:
        globex.ask(*("import", f"{place}/out.age", "--identity", f"{place}/other"), stdin=f"{cluster.pin('globex')}\n")
    assert refused.value.code == "refused"
