"""Restoring from a set, end to end with the stock age command; and every backup that must be refused."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import CLUSTER_UUID, BackupSite, make_site
from support.memory_cluster import object_file

from keyfold.backup import manifest
from keyfold.backup.manifest import Manifest
from keyfold.errors import KeyfoldError
from keyfold.restore.plan import Action
from keyfold.restore.report import subscribers_text
from keyfold.restore.run import Outcome
from keyfold.restore.select import Selection


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    for number, label in enumerate(("signer", "signer", "other", "other")):
        site.agent.add_key("acme", number, label, 2 + number % 2, key_id=f"0{number // 2}")
    return site


def files(site: BackupSite, partition: str = "acme") -> dict[str, bytes]:
    return {file: stored.data for file, stored in site.agent.partitions[partition].live.items()}


def place(made: Manifest, name: str = manifest.NAME) -> str:
    return f"{CLUSTER_UUID}/{made.set_id}/{name}"


def counts(outcome: Outcome) -> dict[str, int]:
    """Of the one partition, without zeros."""
    (plan,) = outcome.plans
    return {action: count for action, count in plan.counts.items() if count}


def revision(outcome: Outcome) -> object:
    assert outcome.record is not None
    return outcome.record["revision"]


def archive(made: Manifest, partition: str = "acme") -> str:
    entry = made.partition(partition)
    assert entry is not None
    return place(made, entry.archive)


def assert_refused(site: BackupSite, *words: str, set_id: str = "latest", code: str = "refused") -> None:
    """Preview and apply refuse alike, and nothing was written: no object, no record, nothing left in the spool."""
    before = site.agent.revision
    for attempt in (site.preview, site.apply):
        with pytest.raises(KeyfoldError) as caught:
            attempt("acme", set_id=set_id)
        assert caught.value.code == code, caught.value.what
        for word in words:
            assert word in caught.value.what
        assert caught.value.not_done
        assert caught.value.next_step
    assert (site.agent.restored, site.agent.records["restore"], site.agent.revision) == ([], {}, before)
    assert not site.spool.exists() or [path.name for path in site.spool.iterdir()] == ["backup.lock"]


# --- what comes back --------------------------------------------------------------------------------------------


def test_a_destroyed_key_comes_back_as_it_was(site: BackupSite) -> None:
    before = files(site)
    made = site.run()
    for file in [file for file in before if file != "token.object"]:
        site.agent.destroy("acme", file)
    outcome = site.apply("acme")
    assert files(site) == before
    assert counts(outcome) == {"reactivate": 4, "untouched": 1}
    assert (outcome.set_id, revision(outcome)) == (made.set_id, site.agent.revision)
    assert site.agent.partitions["acme"].invalidated == {}


def test_a_restore_is_recorded_for_its_ticket_with_who_approved_it_and_its_price(site: BackupSite) -> None:
    made = site.run()
    site.agent.destroy("acme", min(files(site)))
    outcome = site.apply("acme", Selection(labels=("signer",)))
    (record,) = site.agent.records["restore"].values()
    assert record == outcome.record
    expected = {"ticket": "T-1", "who": "operator", "set": made.set_id, "mode": "merge", "labels": ["signer"]}
    assert expected.items() <= record.items()
    assert (record["chargeable"], record["prices"]) == (True, {"acme": "120.00 EUR"})
    assert record["counts"] == {"acme": outcome.plans[0].counts}
    assert record["nodes"] == {"hsm1": "level", "hsm2": "down", "hsm3": "level"}
    assert "120.00 EUR" in subscribers_text(record)


def test_a_preview_writes_nothing_and_says_what_apply_does(site: BackupSite) -> None:
    site.run()
    gone = min(files(site))
    site.agent.destroy("acme", gone)
    del site.agent.partitions["acme"].invalidated[gone]
    revision = site.agent.revision
    preview = site.preview("acme")
    assert (site.agent.revision, site.agent.records["restore"], preview.record) == (revision, {}, None)
    assert list(preview.plans[0].writes) == [gone]
    assert site.apply("acme").plans == preview.plans


def test_named_keys_come_back_and_others_do_not(site: BackupSite) -> None:
    site.run()
    for file in [file for file in files(site) if file != "token.object"]:
        site.agent.destroy("acme", file)
    site.apply("acme", Selection(labels=("signer",)))
    labels = [bytes.fromhex(one.meta["label"] or "") for one in site.agent.partitions["acme"].live.values()]
    assert sorted(labels) == [b"", b"signer", b"signer"]


def test_a_changed_object_is_shown_and_left_alone(site: BackupSite) -> None:
    site.run()
    file = min(files(site))
    newer = object_file(b"changed since", object_class=3)
    site.agent.put("acme", file, newer, {})
    outcome = site.apply("acme")
    assert [step.object.file for step in outcome.plans[0].steps if step.action is Action.DIFFERS] == [file]
    assert outcome.record is None
    assert files(site)[file] == newer


def test_nothing_missing_means_nothing_done(site: BackupSite) -> None:
    site.run()
    outcome = site.apply("acme")
    assert (outcome.record, site.agent.records["restore"], site.agent.restored) == (None, {}, [])


def test_a_partition_that_is_gone_comes_back_whole_with_its_token_first(site: BackupSite) -> None:
    before, row = files(site), dict(site.agent.partitions["acme"].row)
    site.run()
    del site.agent.partitions["acme"]
    outcome = site.apply("acme")
    assert files(site) == before
    assert site.agent.partitions["acme"].row == row
    assert site.agent.restored[0] == "token.object"
    assert outcome.plans[0].create


def test_an_older_set_can_be_named(site: BackupSite) -> None:
    old = site.run()
    late = site.agent.add_key("acme", 9, "late", 4)
    site.run()
    site.agent.destroy("acme", late)
    assert site.preview("acme", set_id=old.set_id).plans[0].writes == {}
    assert list(site.preview("acme").plans[0].writes) == [late]


def test_an_interrupted_restore_goes_on_where_it_stopped(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("keyfold.restore.run._BATCH_OBJECTS", 2)
    before = files(site)
    site.run()
    del site.agent.partitions["acme"]

    def agent_dies() -> None:
        raise KeyfoldError("agent_down", "gone", not_done="-", next_step="-")

    def first_batch() -> None:
        site.agent.before["restore_apply"] = agent_dies

    approval = site.approval("acme")
    site.agent.before["restore_apply"] = first_batch
    with pytest.raises(KeyfoldError, match="gone"):
        site.restore().apply(approval, "operator")
    assert 0 < len(files(site)) < len(before)
    site.restore().apply(approval, "operator")
    assert files(site) == before
    assert all(count <= 2 for count in site.agent.batches)
    (record,) = site.agent.records["restore"].values()
    assert record["finished"]


def test_a_finished_restore_is_answered_from_its_record_and_nothing_is_written(site: BackupSite) -> None:
    site.run()
    site.agent.destroy("acme", min(files(site)))
    approval = site.approval("acme")
    first = site.restore().apply(approval, "operator")
    before = site.agent.revision
    again = site.restore().apply(approval, "operator")
    assert (again.record, again.changed, site.agent.revision) == (first.record, False, before)


def test_a_result_that_is_not_as_in_the_backup_is_an_error(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run()
    site.agent.destroy("acme", min(files(site)))
    monkeypatch.setattr(site.agent, "_restore_apply", lambda **_request: {"revision": 1})
    with pytest.raises(KeyfoldError) as caught:
        site.apply("acme")
    assert caught.value.code == "conflict"
    (record,) = site.agent.records["restore"].values()
    assert not record["finished"]


def test_a_node_that_does_not_follow_is_named(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    site.run()
    site.agent.destroy("acme", min(files(site)))
    rows = [{"name": "hsm1", "agent": "up", "applied_revision": 1}]
    monkeypatch.setattr(site.agent, "_status", lambda: {"revision": 1, "nodes": rows})
    with pytest.raises(KeyfoldError, match="hsm1 did not apply") as caught:
        site.apply("acme")
    assert caught.value.code == "conflict"


# --- modes --------------------------------------------------------------------------------------------------------


def test_replace_makes_the_partition_what_it_was_and_keeps_what_there_was(site: BackupSite) -> None:
    before = files(site)
    made = site.run()
    destroyed, changed = (file for file in sorted(before)[:2])
    site.agent.destroy("acme", destroyed)
    site.agent.put("acme", changed, object_file(b"changed since", object_class=3), {})
    late = site.agent.add_key("acme", 9, "late", 4)
    there = files(site)
    outcome = site.apply("acme", mode="replace")
    assert files(site) == before
    assert counts(outcome) == {"reactivate": 1, "change": 1, "remove": 1, "untouched": 3}
    assert late in site.agent.partitions["acme"].invalidated
    assert outcome.record is not None
    safety = outcome.record["safety_set"]
    assert safety not in ("", None, made.set_id)
    # The latest set is still the daily one; the other one undoes the restore.
    assert site.preview("acme").set_id == made.set_id
    site.apply("acme", set_id=safety, mode="replace")
    assert files(site) == there


def test_replace_of_some_keys_touches_no_others(site: BackupSite) -> None:
    site.run()
    late = [site.agent.add_key("acme", 9, label, 4) for label in ("signer",)]
    other = site.agent.add_key("acme", 10, "new", 4)
    outcome = site.apply("acme", Selection(labels=("signer",)), mode="replace")
    assert counts(outcome) == {"remove": 1, "untouched": 2}
    assert late[0] not in files(site)
    assert other in files(site)


@pytest.mark.parametrize("mode", ["merge", "replace"])
def test_pins_are_kept_and_restored_on_request(site: BackupSite, mode: str) -> None:
    old = files(site)["token.object"]
    site.run()
    new = object_file(b"another PIN", object_class=0)
    site.agent.put("acme", "token.object", new, {"class": None})
    outcome = site.apply("acme", mode=mode)
    assert (files(site)["token.object"], outcome.plans[0].pin, outcome.record) == (new, "kept", None)
    outcome = site.apply("acme", mode=mode, restore_pin=True)
    assert (files(site)["token.object"], outcome.plans[0].pin) == (old, "restored")
    assert outcome.record is not None
    assert outcome.record["safety_set"]


def test_side_by_side_makes_a_new_partition_and_leaves_the_old_one_alone(site: BackupSite) -> None:
    site.run()
    site.agent.destroy("acme", min(files(site)))
    before, row = files(site), site.agent.partitions["acme"].row
    approval = site.approval("acme", mode="side-by-side", target="acme-2026")
    outcome = site.restore().apply(approval, "operator")
    assert outcome.plans[0].pin == "created"
    assert files(site) == before
    made = site.agent.partitions["acme-2026"]
    assert len(made.live) == 5
    assert made.row["name"] == "acme-2026"
    assert {made.row["uuid"], made.row["token_uuid"]}.isdisjoint({row["uuid"], row["token_uuid"]})
    with pytest.raises(KeyfoldError) as caught:
        site.apply("acme", mode="side-by-side", target="acme-2026", chargeable=False)
    assert caught.value.code == "conflict"


@pytest.mark.exhaustive
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("op", ["restore_begin", "snapshot", "record_put", "restore_apply", "status", "restore_finish"])
def test_killed_at_any_step_and_run_again_it_ends_in_the_same_state(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch, op: str, when: str
) -> None:
    """The safety set is part of the walk: snapshot and record_put are its steps."""
    before = files(site)
    site.run()
    destroyed, changed = sorted(before)[:2]
    site.agent.destroy("acme", destroyed)
    site.agent.put("acme", changed, object_file(b"changed since", object_class=3), {})
    late = site.agent.add_key("acme", 9, "late", 4)
    there = files(site)
    approval = site.approval("acme", mode="replace")
    with monkeypatch.context() as patch:
        real = getattr(site.agent, f"_{op}")

        def killed(**params: Any) -> Any:
            if when == "after" and not params.get("check"):
                real(**params)
            if params.get("check"):
                return real(**params)
            raise KeyboardInterrupt

        patch.setattr(site.agent, f"_{op}", killed)
        with pytest.raises(KeyboardInterrupt):
            site.restore().apply(approval, "operator")
    outcome = site.restore().apply(approval, "operator")
    assert files(site) == before
    assert list(site.agent.partitions["acme"].invalidated) == [late]
    assert outcome.record is not None
    assert outcome.record["finished"]
    # Whatever happened, what there was before the first write can be had back.
    site.apply("acme", set_id=str(outcome.record["safety_set"]), mode="replace")
    assert files(site) == there


def test_what_is_too_much_for_memory_is_decrypted_a_second_time(
    site: BackupSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("keyfold.restore.fetch._KEPT_BYTES", 100)
    before = files(site)
    site.run()
    for file in [file for file in before if file != "token.object"]:
        site.agent.destroy("acme", file)
    site.apply("acme")
    assert files(site) == before


@pytest.mark.parametrize("package", ["SBX", "PLATINUM"])
def test_a_package_without_backups_is_refused_and_nothing_written(site: BackupSite, package: str) -> None:
    site.run()
    site.agent.destroy("acme", min(files(site)))
    site.agent.partitions["acme"].row |= {"package": package, "backup": False}
    assert_refused(site, "acme", package)


def test_another_manifest_than_the_approved_one_is_refused(site: BackupSite) -> None:
    made = site.run()
    site.agent.destroy("acme", min(files(site)))
    approval = site.approval("acme")
    site.resign(made, node="hsm9")
    before = site.agent.revision
    with pytest.raises(KeyfoldError, match="not the approved one") as caught:
        site.restore().apply(approval, "operator")
    assert (caught.value.code, site.agent.revision) == ("unapproved", before)


def test_a_set_out_of_the_window_is_refused_and_nothing_written(site: BackupSite) -> None:
    old = site.run()
    site.agent.destroy("acme", min(files(site)))
    site.run()
    site.clock.sleep(11 * 86400)
    assert_refused(site, "restore window of 10 days", set_id=old.set_id)


def test_the_whole_cluster_comes_back_in_one_restore(site: BackupSite) -> None:
    site.agent.add_partition("bolt")
    site.agent.add_key("bolt", 7, "door", 3)
    site.run()
    before = {name: files(site, name) for name in ("acme", "bolt")}
    del site.agent.partitions["acme"]
    site.agent.destroy("bolt", min(files(site, "bolt")))
    outcome = site.apply(None)
    assert {name: files(site, name) for name in ("acme", "bolt")} == before
    assert [plan.partition for plan in outcome.plans] == ["acme", "bolt"]


# --- what is refused --------------------------------------------------------------------------------------------


def test_restore_refuses_another_clusters_backup(
    site: BackupSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other_uuid = "99999999-2222-4333-8444-555555555555"
    other = make_site(tmp_path / "other", monkeypatch, bytes(32), other_uuid)
    other.agent.add_partition("acme")
    made = other.run()
    site.store.make_collection(CLUSTER_UUID)
    site.store.make_collection(f"{CLUSTER_UUID}/{made.set_id}")
    copy(other, site, CLUSTER_UUID)
    assert_refused(site, "another cluster", other_uuid)


def test_restore_refuses_the_same_uuid_under_another_root(
    site: BackupSite, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = make_site(tmp_path / "other", monkeypatch, bytes(32))
    other.agent.add_partition("acme")
    made = other.run()
    site.store.make_collection(CLUSTER_UUID)
    site.store.make_collection(f"{CLUSTER_UUID}/{made.set_id}")
    copy(other, site, CLUSTER_UUID)
    assert_refused(site, "signature")


def copy(source: BackupSite, target: BackupSite, cluster_uuid: str) -> None:
    for name, content in source.store.files().items():
        put(target, f"{cluster_uuid}/{name.partition('/')[2]}", content)


def overwrite(site: BackupSite, name: str, content: bytes) -> None:
    site.store.alter(name, lambda _before: content)


def put(site: BackupSite, name: str, content: bytes) -> None:
    site.store.put_new(name, io.BytesIO(content), len(content))


def test_restore_refuses_an_unsigned_manifest(site: BackupSite) -> None:
    made = site.run()
    site.store.alter(place(made), lambda document: document.split(b"\n")[0] + b"\n")
    assert_refused(site, "not signed")
    site.agent.records["backup_set"].clear()
    assert_refused(site, "not signed")


def test_restore_refuses_a_manifest_the_cluster_did_not_record(site: BackupSite) -> None:
    """Signed by the right key, yet not what was published: a replay under a known ID."""
    made = site.run()
    site.agent.records["backup_set"][made.set_id]["manifest_sha256"] = "0" * 64
    assert_refused(site, "recorded")


def spoil(content: bytes) -> Iterator[bytes]:
    for at in (0, 40, 120, len(content) // 2, len(content) - 1):
        yield content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :]


def cut(content: bytes) -> Iterator[bytes]:
    for length in (0, 1, len(content) // 2, len(content) - 1):
        yield content[:length]


@pytest.mark.parametrize("damage", [spoil, cut, lambda content: iter([content + b"x"])])
@pytest.mark.parametrize("part", [archive, place])
def test_restore_refuses_a_set_that_was_altered_or_cut(
    site: BackupSite, part: Callable[[Manifest], str], damage: Callable[[bytes], Iterator[bytes]]
) -> None:
    made = site.run()
    whole = site.store.files()[part(made)]
    for damaged in damage(whole):
        overwrite(site, part(made), damaged)
        assert_refused(site, made.set_id)
    overwrite(site, part(made), whole)
    site.preview("acme")


def test_restore_refuses_a_missing_archive(site: BackupSite) -> None:
    made = site.run()
    site.store.lose(archive(made))
    assert_refused(site, code="not_found")


def test_restore_refuses_archives_swapped_between_partitions(site: BackupSite) -> None:
    site.agent.add_partition("bolt")
    made = site.run()
    acme, bolt = made.partitions
    swapped = (
        replace(bolt, name=acme.name, uuid=acme.uuid),
        replace(acme, name=bolt.name, uuid=bolt.uuid),
    )
    site.resign(made, partitions=swapped)
    assert_refused(site, "swapped", "bolt")


def test_restore_refuses_an_archive_of_an_older_set(site: BackupSite) -> None:
    old, new = site.run(), site.run()
    stale = site.store.files()[archive(old)]
    put(site, place(new, old.partitions[0].archive), stale)
    site.resign(new, partitions=old.partitions)
    assert_refused(site, "swapped", old.set_id)


def test_restore_refuses_sets_swapped_in_the_store(site: BackupSite) -> None:
    old, new = site.run(), site.run()
    document = site.store.files()[place(old)]
    overwrite(site, place(new), document)
    site.agent.records["backup_set"].clear()
    assert_refused(site, "swapped")


def test_restore_refuses_an_archive_with_other_objects_than_its_manifest_says(site: BackupSite) -> None:
    made = site.run()
    site.resign(made, partitions=(replace(made.partitions[0], objects=4),))
    assert_refused(site, "5 objects", "4")


def test_restore_refuses_a_partition_made_anew(site: BackupSite) -> None:
    site.run()
    site.agent.partitions["acme"].row["token_uuid"] = "another-token"
    assert_refused(site, "made anew")


def test_latest_never_means_an_older_set_in_silence(site: BackupSite) -> None:
    old, new = site.run(), site.run()
    site.store.lose(place(new))
    assert_refused(site, new.set_id, "not in the store")
    site.preview("acme", set_id=old.set_id)


def test_unknown_names_are_named(site: BackupSite) -> None:
    site.run()
    for selection in (Selection(labels=("nobody",)), Selection(ids=("ff",))):
        with pytest.raises(KeyfoldError) as caught:
            site.preview("acme", selection)
        assert caught.value.code == "not_found"
        assert "nobody" in caught.value.what or "ff" in caught.value.what
    with pytest.raises(KeyfoldError) as caught:
        site.preview("nobody")
    assert (caught.value.code, "nobody" in caught.value.what) == ("not_found", True)
    with pytest.raises(KeyfoldError) as caught:
        site.preview("acme", set_id="20200101T000000Z-00000000")
    assert (caught.value.code, "20200101T000000Z-00000000" in caught.value.what) == ("not_found", True)


def test_an_empty_store_is_not_found(site: BackupSite) -> None:
    assert_refused(site, "no backup set", code="not_found")
