"""After the backup: keys are destroyed and gone everywhere, a preview changes nothing, and every bad set is refused."""

from __future__ import annotations

import base64
import os
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from scenario.application import Application
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.evidence import kept
from scenario.identities import Identity, foreign
from scenario.leaks import known_secrets
from scenario.machines import ROOT
from scenario.restoring import apply, draft, signed

GOLDEN = ROOT / "node/tests/golden/v1/store"
STORE = "/srv/keyfold"


@pytest.fixture(scope="module", autouse=True)
def destroyed(cluster: Cluster) -> None:
    """Once for all tests here: the subscriber destroys everything through the API."""
    with cluster.subscriber() as application:
        for cls, label in application.call("labels"):
            application.call("destroy", cls=cls, label=label)
    cluster.await_agreement()


@pytest.fixture(scope="module")
def newest(cluster: Cluster) -> str:
    sets = keyfold(cluster.node("hsm3"), "backup", "list")["sets"]
    assert len(sets) == 1
    assert sets[0]["verified"] is True
    return str(sets[0]["set_id"])


def preview(cluster: Cluster, *more: str) -> dict[str, object]:
    return keyfold(cluster.node("hsm3"), "restore", "preview", "--partition", "acme", *more)


def written(cluster: Cluster) -> dict[str, Any]:
    """All that a restore could have written: every node's objects, the invalidated ones, the store's files."""
    return {
        "holdings": cluster.await_agreement(),
        "objects": keyfold(cluster.nodes[0], "object", "list", "acme")["objects"],
        "invalidated": keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"],
        "store": cluster.store.shell(f"find {STORE} -type f -exec sha256sum {{}} + | sort"),
    }


def restore_playbook(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The operator's own command, as loud as it gets."""
    return subprocess.run(
        ["ansible-playbook", "-vvv", "--diff", "-i", "inventories/molecule", "playbooks/restore.yml", *arguments],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


@contextmanager
def damaged(cluster: Cluster, set_id: str, script: str) -> Iterator[None]:
    """Somebody at the store's own disk changes the set; put back afterwards."""
    store = cluster.store
    home = store.shell(f"find / -xdev -type d -name {set_id} -print -quit").strip()
    store.shell(f"cp -a {home} /root/kept && cd {home} && {script}")
    try:
        yield
    finally:
        store.shell(f"rm -r {home} && mv /root/kept {home}")


def assert_refused_and_nothing_written(cluster: Cluster, set_id: str, approval: dict[str, Any] | None = None) -> None:
    before = written(cluster)
    with pytest.raises(CommandRefused) as caught:
        preview(cluster, "--set", set_id)
    assert (caught.value.code, caught.value.exit_code) == ("refused", 8), caught.value
    if approval is not None:
        with pytest.raises(CommandRefused) as caught:
            apply(cluster, approval)
        assert (caught.value.code, caught.value.exit_code) == ("refused", 8), caught.value
    assert written(cluster) == before


def test_destroyed_keys_are_gone_on_every_node_and_kept_as_invalidated(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    for node in (*cluster.nodes, None):
        assert session(node).call("labels") == []
    rows = keyfold(cluster.nodes[0], "object", "list", "acme", "--invalidated")["objects"]
    assert sorted(bytes.fromhex(row["label"]).decode() for row in rows) == [
        *("one", "one", "rsa", "rsa", "three", "two", "two")
    ]


def test_the_set_verifies_without_keys(cluster: Cluster, newest: str) -> None:
    assert keyfold(cluster.node("hsm3"), "backup", "verify", newest)["ok"]


def test_a_preview_shows_the_plan_and_changes_nothing(cluster: Cluster, newest: str) -> None:
    before = written(cluster)
    reply = preview(cluster)
    assert reply["set_id"] == newest
    assert reply["counts"]["reactivate"] == 7  # type: ignore[index]
    assert written(cluster) == before


def test_the_playbooks_dry_run_shows_the_plan_and_no_secret_and_changes_nothing(cluster: Cluster, newest: str) -> None:
    before = written(cluster)
    request = ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"] / "restore-preview.yml"
    request.write_text(draft(cluster, "--partition", "acme"))
    done = restore_playbook("--check", "-e", f"request={request}")
    assert done.returncode == 0, done.stdout[-3000:]
    assert newest in done.stdout
    assert "reactivate" in done.stdout
    assert [secret[:2] for secret in known_secrets() if secret in done.stdout + done.stderr] == []
    assert written(cluster) == before


def test_the_playbook_without_a_request_is_refused_and_nothing_written(cluster: Cluster) -> None:
    before = written(cluster)
    done = restore_playbook("-e", "confirm=yes")
    assert done.returncode != 0
    assert "one request" in done.stdout
    assert written(cluster) == before


def changed_after_signing(text: str) -> dict[str, Any]:
    approval = signed(text, "ada", "grace")
    wider = text.replace("mode: merge", "mode: replace")
    assert wider != text
    return {**approval, "request": base64.b64encode(wider.encode()).decode()}


def of_another_manifest(text: str) -> dict[str, Any]:
    lines = [line for line in text.splitlines() if not line.startswith("manifest_sha256")]
    return signed("\n".join([*lines, f"manifest_sha256: {'ab' * 32}", ""]), "ada", "grace")


UNAPPROVED = {
    "nobody-signed": lambda text: signed(text),
    "one-officer": lambda text: signed(text, "ada"),
    "one-officer-twice": lambda text: signed(text, "ada", "ada"),
    "changed-after-signing": changed_after_signing,
    "another-sets-hash": of_another_manifest,
}


@pytest.mark.parametrize("how", UNAPPROVED.values(), ids=UNAPPROVED)
def test_what_officers_did_not_approve_is_not_done(cluster: Cluster, how: Callable[[str], dict[str, Any]]) -> None:
    before = written(cluster)
    approval = how(draft(cluster, "--partition", "acme"))
    with pytest.raises(CommandRefused) as caught:
        apply(cluster, approval)
    assert (caught.value.code, caught.value.exit_code) == ("unapproved", 13), caught.value
    assert written(cluster) == before


def test_an_unknown_partition_is_refused_by_name(cluster: Cluster) -> None:
    done = cluster.node("hsm3").attempt("keyfold", "restore", "preview", "--partition", "nobody")
    assert done.returncode == 3
    assert "nobody" in done.stderr


def test_an_unknown_label_is_refused_by_name(cluster: Cluster) -> None:
    with pytest.raises(CommandRefused, match="nosuchkey") as caught:
        preview(cluster, "--label", "nosuchkey")
    assert caught.value.exit_code == 3


DAMAGE = {
    "archive-cut-short": "truncate --size=-100 acme-*.age",
    "archive-emptied": "truncate --size=0 acme-*.age",
    "archive-altered": "printf X | dd of=$(echo acme-*.age) bs=1 seek=1000 conv=notrunc status=none",
    "archives-swapped": "a=$(echo acme-*.age) b=$(echo beta-*.age); mv $a x; mv $b $a; mv x $b",
    "manifest-altered": "sed -i s/acme/evil/ manifest.jsonl",
    "manifest-unsigned": "sed -i 2d manifest.jsonl",
    "manifest-cut-short": "truncate --size=-20 manifest.jsonl",
}


@pytest.mark.parametrize("script", DAMAGE.values(), ids=DAMAGE)
def test_a_damaged_set_is_refused_and_nothing_written(cluster: Cluster, newest: str, script: str) -> None:
    approval = signed(draft(cluster, "--partition", "acme"), "ada", "grace")
    with damaged(cluster, newest, script):
        assert_refused_and_nothing_written(cluster, newest, approval)
    preview(cluster, "--set", newest)


def test_another_clusters_set_is_refused(cluster: Cluster, newest: str) -> None:
    (foreign,) = {path.parent for path in GOLDEN.rglob("manifest.jsonl")}
    home = cluster.store.shell(f"dirname $(find / -xdev -type d -name {newest} -print -quit)").strip()
    put(cluster, foreign, f"{home}/{foreign.name}")
    try:
        assert_refused_and_nothing_written(cluster, foreign.name)
    finally:
        cluster.store.shell(f"rm -r {home}/{foreign.name}")


def put(cluster: Cluster, folder: Path, target: str) -> None:
    cluster.store.shell(f"install -d -o www-data {target}")
    for file in folder.iterdir():
        script = f"base64 -d > {target}/{file.name} && chown www-data {target}/{file.name}"
        cluster.store.shell(script, stdin=base64.b64encode(file.read_bytes()).decode())


def test_a_store_that_does_not_answer_is_named_with_what_to_do(cluster: Cluster) -> None:
    cluster.store.run("systemctl", "stop", "apache2")
    try:
        for command in (["backup", "run"], ["restore", "preview", "--partition", "acme"]):
            done = cluster.node("hsm3").attempt("keyfold", *command)
            assert done.returncode == 7, done.stderr
            assert "Next:" in done.stderr
    finally:
        cluster.store.run("systemctl", "start", "apache2")
    assert len(keyfold(cluster.node("hsm3"), "backup", "list")["sets"]) == 1


# Beside the reader's own key, and with the key it belongs to.
STRANGER = foreign("store", "reader")
WRONG = {"of-another-key": Identity(STRANGER.certificate, None), "of-another-authority": STRANGER}


@pytest.mark.parametrize("who", WRONG.values(), ids=WRONG)
def test_a_wrong_certificate_is_called_one(cluster: Cluster, who: Identity) -> None:
    pair = "/etc/keyfold/pki/store-reader"
    node = cluster.node("hsm3")
    node.shell(f"cp -a {pair}.crt {pair}.key /root/")
    try:
        for kind, pem in (("crt", who.certificate), ("key", who.key)):
            if pem:
                node.shell(f"cat > {pair}.{kind}", stdin=pem)
        assert node.attempt("keyfold", "restore", "preview", "--partition", "acme").returncode == 10
    finally:
        node.shell(f"mv /root/store-reader.crt /root/store-reader.key {pair.rpartition('/')[0]}/")
    preview(cluster)


def test_the_evidence_is_there(cluster: Cluster) -> None:
    assert set(kept("signature")) == {"one", "two", "rsa"}
