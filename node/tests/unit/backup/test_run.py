"""A backup run: what it publishes, and that a failed one publishes nothing."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import CLUSTER_UUID, BackupSite, make_site

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.verify import require_good, verify_sets
from keyfold.errors import KeyfoldError
from keyfold.remote import errors
from keyfold.remote.memory import Fault


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    add_partition(site, "acme")
    site.agent.add_partition("sandbox", "SBX", backup=False)
    return site


def add_partition(site: BackupSite, name: str) -> None:
    site.agent.add_partition(name)
    site.agent.add_key(name, 1, "signer", 3)
    site.agent.add_key(name, 2, "signer", 2)


def manifests(site: BackupSite) -> list[str]:
    return [name for name in site.store.files() if name.endswith(manifest.NAME)]


def stored_sets(site: BackupSite) -> list[sets.StoredSet]:
    cluster = ClusterState(site.agent)
    return sets.read_all(site.store, cluster.identity().signer, cluster.records(sets.RECORD_KIND))


def test_a_set_holds_every_entitled_partition_and_verifies_without_keys(site: BackupSite) -> None:
    add_partition(site, "bolt")
    made = site.run()
    assert [(entry.name, entry.objects) for entry in made.partitions] == [("acme", 3), ("bolt", 3)]
    assert (made.sequence, made.previous_sha256, made.revision) == (1, "", site.agent.revision)
    for entry in made.partitions:
        content = site.store.files()[f"{CLUSTER_UUID}/{made.set_id}/{entry.archive}"]
        assert hashlib.sha256(content).hexdigest() == entry.ciphertext_sha256
        assert len(content) == entry.size_bytes
    cluster = ClusterState(site.agent)
    checked = verify_sets(site.store, cluster.identity().signer, cluster.records(sets.RECORD_KIND))
    require_good(checked)
    assert [one.set_id for one in checked] == [made.set_id]


def test_stock_age_and_tar_open_an_archive(site: BackupSite, tmp_path: Path) -> None:
    made = site.run("acme")
    identity = tmp_path / "identity"
    identity.write_text(ClusterState(site.agent).identity().backup_identity)
    ciphertext = site.store.files()[f"{CLUSTER_UUID}/{made.set_id}/{made.partitions[0].archive}"]
    plain = subprocess.run(["age", "-d", "-i", identity], input=ciphertext, capture_output=True, check=True).stdout
    with tarfile.open(fileobj=io.BytesIO(plain)) as archive:
        names = archive.getnames()
        label = archive.extractfile("keyfold.json")
        assert label is not None
        assert json.loads(label.read())["set_id"] == made.set_id
    assert names[:2] == ["keyfold.json", "partition.json"]
    assert names.count("objects/token.object") == 1


def test_sets_form_a_chain(site: BackupSite) -> None:
    first, second = site.run(), site.run()
    assert second.sequence == 2
    assert second.previous_sha256 == site.agent.records["backup_set"][first.set_id]["manifest_sha256"]
    assert [(one.set_id, one.problem) for one in stored_sets(site)] == [(second.set_id, ""), (first.set_id, "")]


def test_the_chain_goes_on_from_the_store_when_recording_failed(site: BackupSite) -> None:
    first = site.run()
    site.agent.records["backup_set"].clear()
    second = site.run()
    assert second.sequence == 2
    assert [one.problem for one in stored_sets(site)] == ["", ""]
    assert second.previous_sha256 == manifest.sha256(
        site.store.files()[f"{CLUSTER_UUID}/{first.set_id}/{manifest.NAME}"]
    )


def test_the_manifest_comes_last(site: BackupSite) -> None:
    site.run()
    assert list(site.store.files())[-1].endswith(manifest.NAME)


@pytest.mark.parametrize("operation", ["list", "make_collection", "put_new", "get"])
def test_a_store_that_stays_broken_publishes_nothing(site: BackupSite, operation: str) -> None:
    for _ in range(10):
        site.store.fail_next(operation, Fault(errors.failed("HTTP 500")))
    with pytest.raises(KeyfoldError) as caught:
        site.run()
    assert caught.value.code == "store_error"
    assert manifests(site) == []
    assert site.agent.records["backup_set"] == {}


@pytest.mark.parametrize("stored", [None, 0, 100])
@pytest.mark.parametrize("ending", [".age", ".jsonl"])
def test_a_broken_upload_is_tried_again_or_leaves_no_set(site: BackupSite, ending: str, stored: int | None) -> None:
    site.store.fail_next("put_new", Fault(errors.failed("broke off"), stored_bytes=stored), ending=ending)
    if ending == ".jsonl" and stored is not None:
        # A part of the manifest lies under its only name: this set can never count, the next one does.
        with pytest.raises(KeyfoldError) as caught:
            site.run()
        assert caught.value.code == "store_error"
        assert site.agent.records["backup_set"] == {}
    made = site.run()
    (newest, *_) = stored_sets(site)
    assert (newest.set_id, newest.problem) == (made.set_id, "")


def test_an_answer_that_got_lost_does_not_cost_the_set(site: BackupSite) -> None:
    site.store.fail_next("put_new", Fault(errors.failed("no answer"), stored_bytes=1 << 30), ending=".jsonl")
    made = site.run()
    assert [(one.set_id, one.problem) for one in stored_sets(site)] == [(made.set_id, "")]


def test_what_the_store_changed_is_not_believed(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    put_new = site.store.put_new

    def corrupting(name: str, body: io.BufferedReader, length: int) -> None:
        put_new(name, body, length)
        if name.endswith(".age"):
            site.store.alter(name, lambda content: content[:-1] + bytes([content[-1] ^ 1]))

    monkeypatch.setattr(site.store, "put_new", corrupting)
    with pytest.raises(KeyfoldError) as caught:
        site.run()
    assert "something else than was sent" in caught.value.what
    assert manifests(site) == []


@pytest.mark.parametrize("objects", [0, 2, 3])
def test_a_snapshot_that_breaks_off_publishes_nothing(site: BackupSite, objects: int) -> None:
    site.agent.cut_snapshot_after = objects
    with pytest.raises(KeyfoldError) as caught:
        site.run()
    assert caught.value.code == "agent_down"
    assert site.store.files() == {}


def test_a_foreign_signing_key_publishes_nothing(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site.agent.keys, "sign", lambda message: bytes(64))
    with pytest.raises(KeyfoldError) as caught:
        site.run()
    assert caught.value.code == "refused"
    assert manifests(site) == []


def test_a_difference_of_the_local_hsm_is_in_the_manifest(site: BackupSite) -> None:
    live = site.agent.call("local_digests", partition="acme")["digests"]
    keys = sorted(live)
    site.agent.local["acme"] = {
        keys[0]: "other",
        "ffffffff-0000-4000-8000-000000000000.object": "x",
        keys[2]: live[keys[2]],
    }
    made = site.run()
    assert [(one.partition, one.kind) for one in made.differences] == [
        ("acme", "changed"),
        ("acme", "missing"),
        ("acme", "extra"),
    ]


def test_what_this_nodes_files_hold_is_not_asked_for_and_what_they_do_not_is(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    partition = site.agent.partitions["acme"]
    tokens = site.config.partition_directory("acme") / "tokens" / partition.row["token_uuid"]
    tokens.mkdir(parents=True)
    good, torn, linked = sorted(partition.live)
    (tokens / good).write_bytes(b"on disk:" + partition.live[good].data[8:])
    (tokens / torn).write_bytes(partition.live[torn].data[:-1])
    (site.config.state / "elsewhere").write_bytes(partition.live[linked].data)
    (tokens / linked).symlink_to(site.config.state / "elsewhere")
    site.agent.knows_files = True
    asked: list[str] = []
    call = site.agent.call

    def recorded(op: str, **params: Any) -> dict[str, Any]:
        asked.extend([params["file"]] if op == "object_at" else [])
        return call(op, **params)

    monkeypatch.setattr(site.agent, "call", recorded)
    made = site.run()
    assert (asked, made.partitions[0].objects, made.differences) == ([torn, linked], 3, ())


def test_a_change_during_the_run_is_no_difference(site: BackupSite) -> None:
    site.agent.before["local_digests"] = lambda: site.agent.add_key("acme", 3, "late", 4)
    assert site.run().differences == ()


def test_a_dry_run_touches_nothing(site: BackupSite) -> None:
    plan = site.backup().plan()
    assert (plan.sequence, [partition.name for partition in plan.partitions]) == (1, ["acme"])
    assert site.store.files() == {}
    assert not site.spool.exists()


def test_a_partition_without_backup_is_refused_by_name(site: BackupSite) -> None:
    for asked, code in (("sandbox", "invalid"), ("nobody", "not_found")):
        with pytest.raises(KeyfoldError) as caught:
            site.run(asked)
        assert caught.value.code == code
        assert asked in caught.value.what


def test_nothing_to_back_up_makes_no_set(site: BackupSite) -> None:
    del site.agent.partitions["acme"]
    assert site.backup().run() is None
    assert site.store.files() == {}


def test_two_runs_on_a_node_do_not_overlap(site: BackupSite) -> None:
    site.run()
    with (site.spool / "backup.lock").open("w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)
        with pytest.raises(KeyfoldError) as caught:
            site.run()
    assert caught.value.code == "conflict"
    assert len(manifests(site)) == 1


def test_the_spool_is_empty_after_success_failure_and_a_killed_run(site: BackupSite) -> None:
    (site.spool / "run-killed").mkdir(parents=True)
    (site.spool / "run-killed" / "acme.age").write_bytes(b"left behind")
    site.run()
    site.store.fail_next("make_collection", Fault(errors.failed("HTTP 500")))
    with pytest.raises(KeyfoldError):
        site.run()
    assert [path.name for path in site.spool.iterdir()] == ["backup.lock"]


def test_verify_names_the_set_and_what_is_wrong_with_it(site: BackupSite) -> None:
    good = site.run()
    add_partition(site, "bolt")
    bad = site.run()
    place = f"{CLUSTER_UUID}/{bad.set_id}"
    site.store.alter(f"{place}/{bad.partitions[0].archive}", lambda content: content[:-1])
    site.store.lose(f"{place}/{bad.partitions[1].archive}")
    cluster = ClusterState(site.agent)
    checked = verify_sets(site.store, cluster.identity().signer, {})
    with pytest.raises(KeyfoldError) as caught:
        require_good(checked)
    assert caught.value.code == "refused"
    assert bad.set_id in caught.value.what
    assert good.set_id not in caught.value.what
    assert "acme is cut short" in caught.value.what
    assert "bolt is missing" in caught.value.what
