"""What a rebuild would be made from; and what it never is."""

from __future__ import annotations

from dataclasses import replace

import pytest

from keyfold.backup import manifest
from keyfold.backup.archive import ArchivedObject
from keyfold.backup.cluster_archive import ArchivedEntry
from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.retire import retirable
from keyfold.backup.sets import LATEST, StoredSet, judge
from keyfold.custody import record
from keyfold.custody.derive import root_fingerprint
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.restore.rebuild import plan, signers
from keyfold.restore.rebuild_batches import BATCH_BYTES, entry_batches, object_batches

UUID = "11111111-2222-4333-8444-555555555555"
ROOT, STRANGER = bytes(range(32)), bytes(32)


def archive(name: str) -> ArchiveEntry:
    return ArchiveEntry(name, f"uuid of {name}", f"{name}-00.age", 3, 4096, "cd" * 32)


def document(
    sequence: int, *partitions: str, root: bytes = ROOT, epoch: int = 1, **changes: object
) -> tuple[str, bytes]:
    keys = MemorySystemKeys(root, UUID, (epoch,))
    made = Manifest(
        format=2,
        cluster_uuid=UUID,
        backup_key_fingerprint=record.fingerprint(keys.backup_public_key()),
        signing_key_fingerprint=record.fingerprint(keys.signing_public_key()),
        set_id=f"20261123T02300{sequence}Z-00000000",
        sequence=sequence,
        previous_sha256="",
        created="2026-11-23T02:30:00.000000Z",
        retention_class="daily",
        revision=1234,
        node="hsm3",
        partitions=tuple(archive(name) for name in partitions),
        differences=(),
        backup_epoch=epoch,
        root_fingerprint=root_fingerprint(root, UUID),
        share_identifier=1,
        share_threshold=3,
        cluster=(archive("_cluster"),),
    )
    made = replace(made, **changes)  # type: ignore[arg-type]
    return made.set_id, manifest.signed(made, keys.sign)


def stored(*documents: tuple[str, bytes], root: bytes = ROOT) -> list[StoredSet]:
    return judge(dict(documents), signers(root, UUID), {})


def refused(found: list[StoredSet], wanted: str = LATEST, root: bytes = ROOT) -> KeyfoldError:
    with pytest.raises(KeyfoldError) as caught:
        plan(found, wanted, root, UUID)
    return caught.value


def test_each_partition_comes_from_its_newest_archive_not_newer_than_the_set() -> None:
    found = stored(document(1, "acme", "bolt"), document(2, "acme", epoch=2), document(3, "acme", "bolt", epoch=5))
    newest = plan(found, LATEST, ROOT, UUID)
    assert {name: source.manifest.sequence for name, source in newest.sources.items()} == {"acme": 3, "bolt": 3}
    older = plan(found, newest.manifest.set_id.replace("3Z", "2Z"), ROOT, UUID)
    assert {name: source.manifest.sequence for name, source in older.sources.items()} == {"acme": 2, "bolt": 1}
    assert (older.manifest.backup_epoch, older.verified_sets) == (2, 3)


def test_a_strangers_store_or_root_is_refused_by_name() -> None:
    found = stored(document(1, "acme"), root=STRANGER)
    error = refused(found, root=STRANGER)
    assert error.code == "refused"
    assert "was made by the cluster of these shares" in error.what
    mixed = stored(document(1, "acme"), document(2, "acme", root=STRANGER))
    assert "may be the newest" in refused(mixed).what


def test_an_empty_store_is_not_found() -> None:
    assert refused([]).code == "not_found"
    assert refused(stored(document(1, "acme")), "20990101T000000Z-00000000").code == "not_found"


def test_a_set_that_a_cluster_cannot_be_rebuilt_from_is_refused() -> None:
    assert "names the root of another ceremony" in refused(stored(document(1, root_fingerprint="00" * 32))).what
    old = {"format": 1, "root_fingerprint": "", "share_identifier": -1, "share_threshold": 0, "cluster": ()}
    assert "format 1" in refused(stored(document(1, "acme", **old))).what


def test_the_token_comes_first_and_no_batch_is_too_long() -> None:
    token = ArchivedObject("token.object", {}, b"t")
    others = [ArchivedObject(f"{number}.object", {}, bytes(BATCH_BYTES // 3)) for number in range(7)]
    batches = list(object_batches(token, others))
    assert batches[0][0]["file"] == "token.object"
    assert [row["file"] for batch in batches for row in batch[:]][1:] == [one.file for one in others]
    assert max(len(batch) for batch in batches) <= 4
    assert list(entry_batches([])) == []
    assert [len(batch) for batch in entry_batches([ArchivedEntry("k", b"")] * 2001)] == [2000, 1]


def test_an_older_key_goes_when_no_set_needs_it_and_never_while_one_cannot_be_read() -> None:
    prints = [record.fingerprint(MemorySystemKeys(ROOT, UUID, (epoch,)).backup_public_key()) for epoch in (1, 2, 3)]
    older = [{"epoch": epoch, "retired": "", "backup_key_fingerprint": prints[epoch - 1]} for epoch in (1, 2)]
    found = stored(document(1), document(2, epoch=2), document(3, epoch=3))
    assert retirable(older, prints[2], found) == []
    assert retirable(older, prints[2], found[:2]) == [1]
    assert retirable(older, prints[2], found[:1]) == [1, 2]
    assert retirable([{**older[0], "retired": "2026"}, older[1]], prints[2], found[:1]) == [2]
    assert retirable(older, prints[2], [*found[:1], replace(found[1], manifest=None, problem="altered")]) == []
    assert retirable(older, prints[2], found[1:]) == [], "no set yet under the current key"
    assert retirable(older, prints[2], []) == [], "an empty store may be the wrong one"
