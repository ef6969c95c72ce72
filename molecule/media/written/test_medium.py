"""A medium that lives: whole, on every node's word; damaged or another one, refused; restored from."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.evidence import keep, kept
from scenario.media import OTHER_STICK, STICK, opens, row, traces, write
from scenario.restoring import apply, draft, signed

DIGEST = "ab" * 32


def test_it_was_written_once_and_is_in_the_register(cluster: Cluster) -> None:
    (one,) = keyfold(cluster.node("hsm3"), "media", "list")["media"]
    assert (one["state"], one["partitions"], one["ticket"], one["device"]) == (
        "active",
        ["acme", "beta"],
        "CHG-1",
        STICK,
    )
    assert one["days_left"] in (168, 169)
    assert keyfold(cluster.node("hsm3"), "media", "expire")["changed"] is False


def test_the_file_system_says_what_it_is_and_every_node_opens_the_archives(cluster: Cluster) -> None:
    node, medium = cluster.node("hsm3"), row(cluster, "vault")
    copied = node.shell(
        f"mkdir -p /mnt/stick; mount -o ro {STICK} /mnt/stick; cat /mnt/stick/README.txt; umount /mnt/stick"
    )
    assert medium["id"] in copied
    assert f"Opens until  {medium['due'][:10]}" in copied
    archives = node.shell(
        f"mount -o ro {STICK} /mnt/stick; cd /mnt/stick/*/*Z-*; tar -c *.age | base64 -w0; cd /; umount /mnt/stick"
    )
    for one in cluster.nodes:
        one.shell("mkdir -p /root/kept-medium; base64 -d | tar -x -C /root/kept-medium", stdin=archives)
        assert opens(one, medium["recipient"]), one.name
        assert "partitions/system" in traces(one, medium)
    assert len(base64.b64decode(archives)) > 0


def test_no_daily_set_counts_it_and_none_is_missed(cluster: Cluster) -> None:
    assert keyfold(cluster.node("hsm3"), "backup", "list")["sets"] == []
    assert keyfold(cluster.node("hsm3"), "backup", "run")["set"]["sequence"] == 1
    keyfold(cluster.node("hsm3"), "backup", "verify")


def test_a_key_comes_back_from_the_medium_as_officers_approved(
    cluster: Cluster, session: Callable[..., Application]
) -> None:
    application = session()
    for half in ("private", "public"):
        application.call("destroy", cls=half, label="one")
    cluster.await_agreement()
    request = draft(cluster, "--medium", "vault", "--partition", "acme", "--label", "one")
    reply = apply(cluster, signed(request, "ada", "grace"))
    assert (reply["changed"], reply["record"]["counts"]["acme"]["reactivate"]) == (True, 2)
    assert reply["record"]["medium"] == row(cluster, "vault")["id"]
    cluster.await_agreement()
    assert session().call("verify", label="one", digest=DIGEST, signature=kept("signature"))


def test_a_byte_that_changed_is_found_and_nothing_is_restored(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    flip = (
        "import sys; f = open(sys.argv[1], 'r+b'); f.seek(-20, 2); b = f.read(1)[0]; f.seek(-20, 2); "
        "f.write(bytes([b ^ 1])); f.close()"
    )
    script = f'mount {STICK} /mnt/stick; python3 -c "{flip}" /mnt/stick/*/*Z-*/acme-*.age; umount /mnt/stick'
    node.shell(script)
    done = node.attempt("keyfold", "media", "verify", "vault")
    assert done.returncode == 8
    assert "the archive of acme was altered" in done.stderr
    with pytest.raises(CommandRefused, match="was altered"):
        draft(cluster, "--medium", "vault", "--partition", "acme")
    node.shell(script)
    keyfold(node, "media", "verify", "vault")


def test_another_medium_in_its_place_is_refused_by_name(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    write(cluster, "second", OTHER_STICK, "--allow-fixed")
    with pytest.raises(CommandRefused, match="and its key lives"):
        write(cluster, "third", OTHER_STICK, "--allow-fixed", "--overwrite")
    node.shell(f"dd if={OTHER_STICK} of={STICK} bs=1M status=none; sync")
    # The register knows which set is on it, and which key it is sealed to.
    with pytest.raises(CommandRefused, match="another medium"):
        keyfold(node, "media", "verify", "vault")
    keep("second", row(cluster, "second")["id"])


def test_the_timer_destroys_what_is_due_in_its_sandbox(cluster: Cluster) -> None:
    node, medium = cluster.node("hsm3"), row(cluster, "second")
    node.run("systemctl", "start", "keyfold-media.service")
    assert row(cluster, "second")["state"] == "active"
    # Half a year later, as far as the register says.
    node.run(
        "python3",
        "-c",
        "import json, sys\nfrom pathlib import Path\nfrom keyfold.agent.client import AgentClient\n"
        "row = json.loads(sys.argv[1])\nrow.pop('days_left')\nrow['due'] = '2026-01-01T00:00:00.000000Z'\n"
        "AgentClient(Path('/run/keyfold/agent.sock')).call('record_put', kind='medium', id=row['id'], value=row)",
        json.dumps(medium),
    )
    node.run("systemctl", "start", "keyfold-media.service")
    gone = row(cluster, "second")
    assert (gone["state"], gone["destroyed"]["because"]) == ("destroyed", "due")
    assert '"nodes":["hsm1","hsm2","hsm3"]' in gone["certificate"]
