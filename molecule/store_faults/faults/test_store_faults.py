"""Each fault between a node and the store: the run says what is wrong, nothing half counts, the next run succeeds."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager

import pytest
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.faults import cut_off, frozen
from scenario.machines import Machine
from scenario.waiting import wait_for

STORE = "/srv/keyfold"


@pytest.fixture
def node(cluster: Cluster) -> Machine:
    return cluster.node("hsm3")


def sets(node: Machine) -> list[str]:
    """All sets, after every one of them was verified to its last byte."""
    return [str(one["set_id"]) for one in keyfold(node, "backup", "verify")["sets"]]


@contextmanager
def stopped(store: Machine) -> Iterator[None]:
    store.run("systemctl", "stop", "apache2")
    try:
        yield
    finally:
        store.run("systemctl", "start", "apache2")


@contextmanager
def full(machine: Machine, directory: str, owner: str = "0", *, seen_by: str = "1") -> Iterator[None]:
    """A disk of one page in place of the directory, in the mount namespace of the process `seen_by`."""
    there = ("nsenter", f"--target={seen_by}", "--mount", "--")
    options = f"size=4k,mode=0750,uid={owner},gid={owner}"
    machine.run(*there, "mount", "-t", "tmpfs", "-o", options, "tmpfs", directory)
    try:
        yield
    finally:
        machine.run(*there, "umount", "--lazy", directory)


def survives(node: Machine, fault: AbstractContextManager[None], code: str, words: str) -> None:
    """Under the fault a run fails with the code and the words; after it, nothing was published and the next one is."""
    keyfold(node, "backup", "run")
    before = sets(node)
    with fault, pytest.raises(CommandRefused, match=words) as caught:
        keyfold(node, "backup", "run")
    assert caught.value.code == code
    assert sets(node) == before
    made = keyfold(node, "backup", "run")["set"]
    assert sets(node) == [made["set_id"], *before]


def test_the_store_is_graded_write_once_and_backups_go_on(node: Machine) -> None:
    graded = keyfold(node, "store", "check")
    assert graded["write_once"] is True
    assert graded["verdict"] in ("good", "adapt")
    seen = {one["probe"]: one["outcome"] for one in graded["findings"]}
    assert (seen["plain_put_over"], seen["no_clobber"], seen["delete"]) == ("refused", "refused", "refused")
    assert (seen["aborted_put_new"], seen["content_range_put"]) == ("nothing", "refused")
    assert graded["left"].startswith("keyfold-check-"), "the writer may not delete, so this is said"
    assert keyfold(node, "backup", "run")["set"]["verified"] is True


def test_a_store_that_is_down(cluster: Cluster, node: Machine) -> None:
    survives(node, stopped(cluster.store), "store_error", "cannot be reached")


def test_a_store_that_hangs(cluster: Cluster, node: Machine) -> None:
    survives(node, frozen(cluster.store, "apache2.service"), "store_error", "in time")


def test_a_store_that_the_network_hides(cluster: Cluster, node: Machine) -> None:
    survives(node, cut_off(cluster.store, [node]), "store_error", "in time")


def test_a_full_disk_on_the_store(cluster: Cluster, node: Machine) -> None:
    # Its unit has PrivateTmp=, and so mounts of its own.
    apache = cluster.store.run("systemctl", "show", "--property=MainPID", "--value", "apache2").strip()
    owner = cluster.store.run("id", "--user", "www-data").strip()
    survives(node, full(cluster.store, STORE, owner, seen_by=apache), "store_error", "is full")


def test_a_full_disk_in_the_nodes_spool(node: Machine) -> None:
    survives(node, full(node, "/var/lib/keyfold/spool"), "disk", "disk is full")


def test_two_runs_at_once_make_one_set(node: Machine) -> None:
    before = sets(node)
    with ThreadPoolExecutor(2) as pool:
        done = list(pool.map(lambda _: node.attempt("keyfold", "backup", "run", "--json", seconds=600.0), range(2)))
    replies = [json.loads(one.stdout) for one in done]
    made = [reply["set"]["set_id"] for reply in replies if reply["ok"]]
    assert {reply["code"] for reply in replies if not reply["ok"]} <= {"conflict"}
    assert sets(node) == [*sorted(made, reverse=True), *before]
    assert made != []


def test_a_run_killed_in_the_middle_leaves_nothing_that_counts(node: Machine) -> None:
    before = sets(node)
    # Killed as soon as the spool has an archive: from there on it uploads.
    node.shell("""
        keyfold backup run & run=$!
        for _ in $(seq 500); do compgen -G '/var/lib/keyfold/spool/run-*/*.age' >/dev/null && break; sleep 0.01; done
        kill -9 $run; wait $run || true
    """)
    assert set(before) <= set(sets(node))
    # What the killed run held in the cluster ends by itself.
    made = wait_for(lambda: made_if_free(node), "the end of the killed run's hold", 90.0, 1.0)
    assert sets(node)[0] == made["set_id"]


def made_if_free(node: Machine) -> dict[str, str] | None:
    try:
        made: dict[str, str] = keyfold(node, "backup", "run")["set"]
    except CommandRefused as refused:
        if "under way" not in str(refused):
            raise
        return None
    return made


def test_a_store_whose_clock_was_a_day_off_removes_nothing(cluster: Cluster, node: Machine) -> None:
    """Its clock is this machine's and cannot be set here; what a wrong one leaves behind are wrong times of arrival."""
    newest = keyfold(node, "backup", "run")["set"]["set_id"]
    path = cluster.store.shell(f"echo {STORE}/*/{newest}/manifest.jsonl").strip()
    before = sets(node)
    for wrong, words in (("+1 day", "in the future"), ("-1 day", "behind the clock of the node")):
        cluster.store.run("touch", f"--date={wrong}", path)
        done = cluster.store.attempt("runuser", "--user", "keyfold-expiry", "--", "keyfold-expire", "--json")
        assert done.returncode == 21, done.stdout
        assert words in json.loads(done.stdout)["what"]
    cluster.store.run("touch", path)
    assert sets(node) == before


def test_sets_grow_old(cluster: Cluster, node: Machine) -> None:
    """The last act here: all but the newest set arrived eleven days ago, for the playbook that follows."""
    assert len(sets(node)) > 3
    newest = sets(node)[0]
    cluster.store.shell(f"find {STORE} -path '*Z-*' -not -path '*{newest}*' -exec touch --date='-11 days' {{}} +")
    listed = keyfold(node, "backup", "list")["sets"]
    assert [one["expiry"] for one in listed] == ["keep"] + ["expire"] * (len(listed) - 1)
