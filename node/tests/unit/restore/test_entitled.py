"""Which sets may be restored: within ten days, or the only copy; and of packages with backups."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.sets import StoredSet
from keyfold.errors import KeyfoldError
from keyfold.package import Package
from keyfold.restore.entitled import check_package, check_window

NOW = datetime(2026, 3, 20, tzinfo=UTC)
ENTRY = ArchiveEntry("acme", "u", "a.age", 1, 1, "00")
OLD = Manifest(
    *(1, "c", "f", "f", "20260301T000000Z-00000001", 1, "", "2026-03-01T00:00:00.000000Z", "daily", 1, "n"),
    partitions=(ENTRY,),
    differences=(),
)


def stored(*manifests: Manifest) -> list[StoredSet]:
    return [StoredSet(one.set_id, "", one, "") for one in manifests]


def test_an_old_set_is_out_of_the_window_once_a_newer_one_has_the_partition() -> None:
    newer = replace(OLD, set_id="20260302T000000Z-00000002", sequence=2)
    with pytest.raises(KeyfoldError, match="restore window of 10 days") as caught:
        check_window(OLD, "acme", stored(newer, OLD), NOW)
    assert caught.value.code == "refused"
    check_window(OLD, "acme", stored(newer, OLD), datetime(2026, 3, 1, tzinfo=UTC) + timedelta(days=10))


def test_the_only_copy_may_be_restored_however_old() -> None:
    other = replace(OLD, set_id="20260302T000000Z-00000002", sequence=2, partitions=(replace(ENTRY, name="bolt"),))
    check_window(OLD, "acme", stored(other, OLD), NOW)


@pytest.mark.parametrize(("backup", "ordered"), [("always", False), ("order", True)])
def test_packages_with_backups_are_served(backup: str, ordered: bool) -> None:
    check_package("acme", "P", ordered, {"P": Package("P", 1, backup)})


@pytest.mark.parametrize(("package", "ordered"), [("SBX", True), ("PLATINUM", False), ("UNKNOWN", True)])
def test_packages_without_backups_are_refused_by_name(package: str, ordered: bool) -> None:
    packages = {"SBX": Package("SBX", 1, "never"), "PLATINUM": Package("PLATINUM", 1, "order")}
    with pytest.raises(KeyfoldError, match=package) as caught:
        check_package("acme", package, ordered, packages)
    assert (caught.value.code, "acme" in caught.value.what) == ("refused", True)
