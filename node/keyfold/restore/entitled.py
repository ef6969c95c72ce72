"""Whether a set may be restored at all: the window of design §2, and the service package. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from keyfold.backup.manifest import DAILY, Manifest
from keyfold.backup.sets import StoredSet
from keyfold.errors import KeyfoldError
from keyfold.expiry.plan import RETENTION
from keyfold.package import Package


def check_window(manifest: Manifest, partition: str, found: Iterable[StoredSet], now: datetime) -> None:
    """KeyfoldError `refused` if the set is older than its retention, unless nothing newer has the partition.

    Expiry holds such a set, and keeps it alarming, because it is the only copy: then it is what there is to restore.
    """
    days = RETENTION[DAILY]
    newer = any(
        one.manifest is not None and one.sequence > manifest.sequence and one.manifest.partition(partition) is not None
        for one in found
    )
    if newer and now - datetime.fromisoformat(manifest.created) > days:
        raise KeyfoldError(
            "refused",
            f"backup set {manifest.set_id} of {manifest.created[:10]} is out of the restore window of {days.days} days",
            not_done="nothing was written",
            next_step="choose a newer set: keyfold backup list",
        )


def check_package(partition: str, package: str, ordered: bool, packages: Mapping[str, Package]) -> None:
    """KeyfoldError `refused` if the partition's package, or its order, has no backups."""
    known = packages.get(package)
    backup = "never" if known is None else known.backup
    if backup == "never" or (backup == "order" and not ordered):
        reason = "does not include backups" if backup == "never" else "includes backups on order, and none are ordered"
        raise KeyfoldError(
            "refused",
            f"partition {partition}: its package {package} {reason}",
            not_done="nothing was written",
            next_step="change the package or the order in the inventory and run playbooks/partition.yml",
        )
