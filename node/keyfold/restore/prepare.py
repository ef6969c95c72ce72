"""From an order to checked archives and plans: all is read and believed before anything is decided or written."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import BinaryIO

from keyfold.backup import sets
from keyfold.backup.archive import TOKEN_OBJECT, ArchivedObject
from keyfold.backup.cluster import ClusterIdentity, ClusterState, Partition
from keyfold.backup.manifest import MEDIUM, ArchiveEntry, Manifest
from keyfold.backup.sets import StoredSet
from keyfold.backup.spool import scratch_file
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.package import Package
from keyfold.remote import Remote
from keyfold.restore.beside import beside
from keyfold.restore.entitled import check_package, check_window
from keyfold.restore.fetch import ArchiveIndex, download, read_index, read_objects
from keyfold.restore.order import MERGE, Order
from keyfold.restore.plan import RestorePlan, State, check_same_token, plan
from keyfold.restore.select import select


@dataclass(frozen=True, slots=True)
class PreparedPartition:
    """One archive, checked, and what is to be done with it. `package`: the partition's, for the price."""

    index: ArchiveIndex
    ciphertext: BinaryIO
    state: State | None
    plan: RestorePlan
    package: str


@dataclass(frozen=True, slots=True)
class Prepared:
    cluster: ClusterIdentity
    manifest: Manifest
    manifest_sha256: str
    partitions: tuple[PreparedPartition, ...]

    def objects(self, one: PreparedPartition) -> Iterator[ArchivedObject]:
        """What the plan writes; token.object first: a new partition has its token with its first transaction."""
        files = set(one.plan.writes)
        if TOKEN_OBJECT in files and one.index.token is not None:
            yield one.index.token
        files.discard(TOKEN_OBJECT)
        if not files:
            return
        if one.index.kept is not None:
            yield from (item for item in one.index.kept if item.file in files)
        else:
            yield from read_objects(one.ciphertext, self.cluster, files)


class Preparation:
    def __init__(
        self, cluster: ClusterState, remote: Remote, state: Path, packages: Mapping[str, Package], clock: Clock
    ) -> None:
        self._cluster = cluster
        self._remote = remote
        self._spool = state / "spool"
        self._packages = packages
        self._clock = clock

    @contextmanager
    def prepared(self, order: Order, request_id: str) -> Iterator[Prepared]:
        """Archives and plans, while the block lasts.

        KeyfoldErrors: `not_found`; `refused` (a set that cannot be believed, is out of the window, of a package
        without backups, or of another token); `unapproved` (another manifest than the order names); the store's.
        """
        identity = self._cluster.identity()
        records = self._cluster.records(sets.RECORD_KIND)
        found = sets.read_all(self._remote, identity.signer, records)
        stored, manifest = sets.choose(found, order.set_id, records)
        if order.manifest_sha256 and order.manifest_sha256 != stored.manifest_sha256:
            raise _other_manifest(stored, order)
        live = {partition.name: partition for partition in self._cluster.partitions()}
        with ExitStack() as stack:
            partitions = []
            for entry in _entries(manifest, order):
                check_window(manifest, entry.name, found, self._clock.utc())
                ciphertext = stack.enter_context(scratch_file(self._spool))
                download(self._remote, identity.uuid, manifest, entry, ciphertext)
                keep = None if order.partition is None else order.selection
                index = read_index(ciphertext, identity, manifest, entry, keep)
                if manifest.retention_class != MEDIUM:
                    self._check_package(index, live.get(entry.name))
                partitions.append(self._planned(order, index, ciphertext, live, request_id))
            yield Prepared(identity, manifest, stored.manifest_sha256, tuple(partitions))

    def _planned(
        self, order: Order, index: ArchiveIndex, ciphertext: BinaryIO, live: Mapping[str, Partition], request_id: str
    ) -> PreparedPartition:
        name = str(index.row["name"])
        there = live.get(name)
        declared = index.row if there is None else there.row
        package = str(declared["package"])
        if order.target is not None:
            # The policy and package of today, not those of the time of the backup.
            index = beside(replace(index, row=declared), order.target, request_id, stamp(self._clock.utc()))
            name, there = order.target, live.get(order.target)
            if there is not None and there.uuid != index.row["uuid"]:
                raise _taken(name)
        if there is not None:
            check_same_token(there, index.row)
        state = None if there is None else self._state(name, order, index)
        return PreparedPartition(index, ciphertext, state, plan(name, index.objects, order, state), package)

    def _check_package(self, index: ArchiveIndex, there: Partition | None) -> None:
        """Not where the set is on an offline medium: that is an exception made for partitions of any package."""
        declared = index.row if there is None else there.row
        check_package(str(index.row["name"]), str(declared["package"]), bool(declared["backup"]), self._packages)

    def _state(self, name: str, order: Order, index: ArchiveIndex) -> State:
        """Of a few keys only these are looked at: in `merge` nothing else can matter."""
        only = None
        if order.mode == MERGE and not order.selection.everything:
            only = [*(item.file for item in select(index.objects, order.selection)), TOKEN_OBJECT]
        live = self._cluster.objects(name, files=only)
        invalidated, purged = self._cluster.invalidated(name, only)
        return State(live, invalidated, frozenset(purged))


def _entries(manifest: Manifest, order: Order) -> tuple[ArchiveEntry, ...]:
    if order.partition is None:
        return manifest.partitions
    entry = manifest.partition(order.partition)
    if entry is None:
        known = ", ".join(one.name for one in manifest.partitions) or "none"
        raise KeyfoldError(
            "not_found",
            f"backup set {manifest.set_id} has no partition {order.partition} (it has: {known})",
            not_done="nothing was restored",
            next_step="keyfold backup list shows which set has which partitions",
        )
    return (entry,)


def _other_manifest(stored: StoredSet, order: Order) -> KeyfoldError:
    return KeyfoldError(
        "unapproved",
        f"the manifest of backup set {stored.set_id} in the store is not the approved one: its SHA-256 is "
        f"{stored.manifest_sha256}, the request has {order.manifest_sha256}",
        not_done="nothing was written",
        next_step="keyfold backup verify; if the set is right, write the request anew and have it signed",
    )


def _taken(name: str) -> KeyfoldError:
    return KeyfoldError(
        "conflict",
        f"there is a partition {name} already, and this request did not make it",
        not_done="nothing was written",
        next_step="choose another name for 'as' in a new request",
    )
