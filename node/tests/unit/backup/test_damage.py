"""No damage to a stored set passes: each byte flipped, each length cut, archives swapped, manifests replayed.

Everything is tried on both ways that read a set: `backup verify`, and a restore, which must not have written anything.
"""

from __future__ import annotations

import io
from collections.abc import Callable
from pathlib import Path

import pytest
from support.backup_site import CLUSTER_UUID, BackupSite, make_site

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.backup.verify import require_good, verify_sets
from keyfold.errors import KeyfoldError
from keyfold.remote.memory import MemoryRemote


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    return site


def files_of(site: BackupSite, made: Manifest) -> list[str]:
    return [name for name in site.store.files() if made.set_id in name]


def is_read_by_restore(made: Manifest, name: str) -> bool:
    """The cluster's own archive is a rebuild's; what a partition's restore does not need cannot spoil it."""
    return not any(name.endswith(one.archive) for one in made.cluster)


def is_refused(attempt: Callable[[], object]) -> bool:
    try:
        attempt()
    except KeyfoldError as error:
        return error.code == "refused" and error.exit_code == 8
    return False


def all_refuse(site: BackupSite, set_id: str, *, restored: bool = True) -> bool:
    """Verify refuses the set, and so does a restore that reads what is damaged; nothing was written."""
    cluster = ClusterState(site.agent)
    signer, records = cluster.identity().signer, cluster.records(sets.RECORD_KIND)
    before = (site.agent.revision, dict(site.agent.records["restore"]))
    refused = is_refused(lambda: require_good(verify_sets(site.store, signer, records, set_id)))
    if restored:
        refused = refused and is_refused(lambda: site.apply("acme", set_id=set_id))
    return refused and (site.agent.revision, site.agent.records["restore"], site.agent.restored) == (*before, [])


def survivors(site: BackupSite, made: Manifest, damaged: Callable[[bytes, int], bytes]) -> list[tuple[str, int]]:
    """Every file × position whose damage was not refused."""
    found = []
    for name in files_of(site, made):
        whole = site.store.files()[name]
        for position in range(len(whole)):
            site.store.alter(name, lambda content, at=position: damaged(content, at))  # type: ignore[misc]
            if not all_refuse(site, made.set_id, restored=is_read_by_restore(made, name)):
                found.append((name, position))
            site.store.alter(name, lambda _content, whole=whole: whole)  # type: ignore[misc]
    return found


def test_the_undamaged_set_is_not_refused(site: BackupSite) -> None:
    made = site.run()
    assert not all_refuse(site, made.set_id)
    assert sum(len(site.store.files()[name]) for name in files_of(site, made)) > 1000


@pytest.mark.exhaustive
def test_every_flipped_byte_is_refused(site: BackupSite) -> None:
    assert survivors(site, site.run(), lambda whole, at: whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :]) == []


@pytest.mark.exhaustive
def test_every_truncation_is_refused(site: BackupSite) -> None:
    assert survivors(site, site.run(), lambda whole, at: whole[:at]) == []


def test_bytes_appended_are_refused(site: BackupSite) -> None:
    made = site.run()
    for name in files_of(site, made):
        for extra in (b"\n", b"\0", b"x" * 70000):
            site.store.alter(name, lambda content, extra=extra: content + extra)  # type: ignore[misc]
            assert all_refuse(site, made.set_id, restored=is_read_by_restore(made, name))
            site.store.alter(name, lambda content, extra=extra: content.removesuffix(extra))  # type: ignore[misc]


def test_archives_swapped_within_a_set_and_between_sets_are_refused(site: BackupSite) -> None:
    site.agent.add_partition("beta")
    first, second = site.run(), site.run()
    for other in (f"{first.set_id}/{first.partitions[1].archive}", f"{second.set_id}/{second.partitions[0].archive}"):
        own = f"{CLUSTER_UUID}/{first.set_id}/{first.partitions[0].archive}"
        whole, strange = site.store.files()[own], site.store.files()[f"{CLUSTER_UUID}/{other}"]
        site.store.alter(own, lambda _content, strange=strange: strange)  # type: ignore[misc]
        assert all_refuse(site, first.set_id)
        site.store.alter(own, lambda _content, whole=whole: whole)  # type: ignore[misc]


def test_an_older_manifest_replayed_over_a_newer_one_is_refused(site: BackupSite) -> None:
    first, second = site.run(), site.run()
    old = site.store.files()[f"{CLUSTER_UUID}/{first.set_id}/{manifest.NAME}"]
    site.store.alter(f"{CLUSTER_UUID}/{second.set_id}/{manifest.NAME}", lambda _content: old)
    assert all_refuse(site, second.set_id)
    assert is_refused(lambda: site.apply("acme"))


def test_a_store_rolled_back_to_an_older_set_is_refused(site: BackupSite) -> None:
    """Every set in it is genuine; only the newest is gone."""
    site.run()
    second = site.run()
    for name in files_of(site, second):
        site.store.lose(name)
    assert is_refused(lambda: site.apply("acme"))


def test_a_missing_link_is_named_by_verify(site: BackupSite) -> None:
    _, second, third = site.run(), site.run(), site.run()
    site.store.lose(f"{CLUSTER_UUID}/{second.set_id}/{manifest.NAME}")
    cluster = ClusterState(site.agent)
    with pytest.raises(KeyfoldError, match="number 2 is missing") as caught:
        require_good(verify_sets(site.store, cluster.identity().signer, {}))
    assert third.set_id in caught.value.what


def test_another_clusters_set_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its files as they are, in this cluster's place and under its own UUID: never restored, never verified."""
    stranger = make_site(tmp_path / "stranger", monkeypatch, bytes(32), "99999999-2222-4333-8444-555555555555")
    stranger.agent.add_partition("acme")
    made = stranger.run()
    site = make_site(tmp_path / "ours", monkeypatch)
    site.agent.add_partition("acme")
    _move(stranger.store, site.store, CLUSTER_UUID)
    assert all_refuse(site, made.set_id)


def _move(source: MemoryRemote, target: MemoryRemote, cluster_uuid: str) -> None:
    target.make_collection(cluster_uuid)
    for name, content in source.files().items():
        _, set_id, file = name.split("/")
        target.make_collection(f"{cluster_uuid}/{set_id}")
        target.put_new(f"{cluster_uuid}/{set_id}/{file}", io.BytesIO(content), len(content))
