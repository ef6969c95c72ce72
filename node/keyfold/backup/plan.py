"""What a backup run decides: which partitions, under which number, what differs. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyfold.backup.cluster import LiveObject, Partition
from keyfold.backup.manifest import Difference
from keyfold.config import Package
from keyfold.errors import KeyfoldError


@dataclass(frozen=True, slots=True)
class PublishedSet:
    """A set that counts: `sequence` and the hash of its manifest (hex)."""

    sequence: int
    manifest_sha256: str


def named(partitions: Sequence[Partition], asked: Sequence[str]) -> list[Partition]:
    """The partitions `asked` for, by name, whatever their package: an offline medium is the exception.

    KeyfoldError `invalid` if none is named, `not_found` for one there is not.
    """
    there = {partition.name: partition for partition in partitions}
    if not asked:
        raise KeyfoldError(
            "invalid",
            "no partition is named",
            not_done="no backup was made",
            next_step="name the partitions that the medium is for: --partition",
        )
    _require_known(asked, there)
    return [there[name] for name in sorted(set(asked))]


def _require_known(asked: Iterable[str], there: Mapping[str, Partition]) -> None:
    if unknown := sorted(set(asked) - set(there)):
        raise KeyfoldError(
            "not_found",
            f"there is no partition {', '.join(unknown)}",
            not_done="no backup was made",
            next_step="keyfold partition list",
        )


def eligible(
    partitions: Sequence[Partition], packages: Mapping[str, Package], asked: Sequence[str] = ()
) -> list[Partition]:
    """The partitions to back up, by name: all that their package or order entitles, or those `asked` for.

    KeyfoldError `not_found` or `invalid` if one that was asked for is unknown or is not entitled to backups.
    """
    there = {partition.name: partition for partition in partitions}
    _require_known(asked, there)
    entitled = {name for name, partition in there.items() if _entitled(partition, packages)}
    without = sorted(set(asked) - entitled)
    if without:
        raise KeyfoldError(
            "invalid",
            f"the partition {', '.join(without)} has no backup: its package does not include it, or it is not ordered",
            not_done="no backup was made",
            next_step="order it: backup: true in the inventory (PLATINUM), or choose another package",
        )
    return [there[name] for name in sorted(set(asked) or entitled)]


def _entitled(partition: Partition, packages: Mapping[str, Package]) -> bool:
    package = packages.get(partition.package)
    if package is None:
        raise KeyfoldError(
            "invalid",
            f"the partition {partition.name} has the package {partition.package}, which this node does not know",
            not_done="no backup was made",
            next_step="add it to node_packages and run: ansible-playbook playbooks/site.yml",
        )
    return package.backup == "always" or (package.backup == "order" and partition.backup)


def made_lately(
    records: Mapping[str, Mapping[str, Any]], partitions: Sequence[Partition], now: datetime, within: timedelta
) -> Mapping[str, Any] | None:
    """The record of a set with all these partitions that is not older than `within`: nothing is left for a daily run.

    Several nodes of the backup site have a timer each, and one makes up for another that failed.
    """
    names = {partition.name for partition in partitions}
    for record in records.values():
        age = now - datetime.fromisoformat(record["created"])
        if timedelta(0) <= age <= within and names <= set(record["partitions"]):
            return record
    return None


def next_in_chain(recorded: Iterable[PublishedSet], stored: Iterable[PublishedSet]) -> tuple[int, str]:
    """(sequence, hash of the previous manifest; "" for the first) after what etcd and the store know.

    Either may know more: the store after a crash between publishing and recording, etcd after sets expired.
    """
    newest = max([*recorded, *stored], key=lambda published: published.sequence, default=PublishedSet(0, ""))
    return newest.sequence + 1, newest.manifest_sha256


def differences(
    partition: str,
    snapshot: Mapping[str, str],
    local: Mapping[str, str],
    now: Mapping[str, LiveObject],
    revision: int,
) -> list[Difference]:
    """Where this node's own files (`local`: file → digest) are not what was committed at `revision` (`snapshot`).

    `now` are the live objects, listed after `local` was read: what changed after `revision` is no difference.
    """
    found = []
    for file in sorted(set(snapshot) | set(local)):
        if snapshot.get(file) == local.get(file) or _changed_since(file, snapshot, now, revision):
            continue
        kind = "missing" if file not in local else "extra" if file not in snapshot else "changed"
        found.append(Difference(partition, file, kind))
    return found


def _changed_since(file: str, snapshot: Mapping[str, str], now: Mapping[str, LiveObject], revision: int) -> bool:
    if file not in now:
        return file in snapshot
    return now[file].revision > revision
