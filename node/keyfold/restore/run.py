"""Preview a restore, or carry it out: through the agent, hence through etcd, hence on every node."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, BinaryIO

from keyfold.backup import sets
from keyfold.backup.archive import TOKEN_OBJECT, ArchivedObject
from keyfold.backup.cluster import ClusterIdentity, ClusterState
from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.progress import Progress
from keyfold.backup.spool import scratch_file
from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote
from keyfold.restore.fetch import ArchiveIndex, download, read_index, read_objects
from keyfold.restore.plan import MODE, RestorePlan, check_same_token, plan
from keyfold.restore.select import Selection

RECORD_KIND = "restore"

# Below the agent's limit of a request line, which holds them in Base64.
_BATCH_BYTES = 4 << 20
_BATCH_OBJECTS = 2000


@dataclass(frozen=True, slots=True)
class Request:
    """What to restore: `set_id` is a set's ID or `latest`."""

    partition: str
    set_id: str
    selection: Selection


@dataclass(frozen=True, slots=True)
class Outcome:
    """`revision`: what etcd has everything at; None if nothing was written."""

    set_id: str
    plan: RestorePlan
    revision: int | None


class Restore:
    """Everything is checked to its last byte before the first object is written."""

    def __init__(self, cluster: ClusterState, remote: Remote, state: Path, clock: Clock) -> None:
        self._cluster = cluster
        self._remote = remote
        self._spool = state / "spool"
        self._clock = clock

    def preview(self, request: Request) -> Outcome:
        """What `apply` would do now. KeyfoldErrors as for `apply`; writes nothing."""
        with self._prepared(request) as prepared:
            return Outcome(prepared.manifest.set_id, prepared.plan, None)

    def apply(self, request: Request, ticket: str, who: str) -> Outcome:
        """Bring back what is missing, for `ticket`; safe to repeat after an interruption.

        KeyfoldError `not_found` (partition, set, key), `refused` (the backup cannot be believed, or belongs to another
        token), `conflict` (the partition changed meanwhile), and those of the store and the agent.
        """
        with self._prepared(request) as prepared:
            if not prepared.plan.writes:
                return Outcome(prepared.manifest.set_id, prepared.plan, None)
            record = self._record(request, prepared, ticket, who)
            record_id = f"{record['started']}-{secrets.token_hex(4)}"
            self._cluster.put_record(RECORD_KIND, record_id, record)
            revision = self._write(request.partition, prepared, ticket)
            self._verify(request.partition, prepared.plan)
            finished = {"finished": stamp(self._clock.utc()), "revision": revision}
            self._cluster.put_record(RECORD_KIND, record_id, record | finished)
            return Outcome(prepared.manifest.set_id, prepared.plan, revision)

    @contextmanager
    def _prepared(self, request: Request) -> Iterator[_Prepared]:
        cluster = self._cluster.identity()
        records = self._cluster.records(sets.RECORD_KIND)
        found = sets.read_all(self._remote, cluster.signer, records)
        _, manifest = sets.choose(found, request.set_id, records)
        entry = _entry(manifest, request.partition)
        with scratch_file(self._spool) as ciphertext:
            download(self._remote, cluster.uuid, manifest, entry, ciphertext)
            index = read_index(ciphertext, cluster, manifest, entry)
            yield _Prepared(cluster, manifest, index, ciphertext, self._plan(request, index))

    def _plan(self, request: Request, index: ArchiveIndex) -> RestorePlan:
        name = request.partition
        live = next((partition for partition in self._cluster.partitions() if partition.name == name), None)
        if live is None:
            return plan(index.objects, request.selection, None, ())
        check_same_token(live, index.row)
        invalidated = self._cluster.objects(name, invalidated=True)
        return plan(index.objects, request.selection, self._cluster.objects(name), invalidated)

    def _write(self, partition: str, prepared: _Prepared, ticket: str) -> int:
        revision = 0
        create = prepared.index.row if prepared.plan.create else None
        with Progress("restoring", len(prepared.plan.writes)) as bar:
            for batch in _batches(_in_order(prepared)):
                revision = self._cluster.restore(partition, ticket, batch, create)
                create = None
                bar.advance(len(batch))
        return revision

    def _verify(self, partition: str, made: RestorePlan) -> None:
        live = self._cluster.objects(partition)
        wrong = sorted(
            file for file, item in made.writes.items() if file not in live or live[file].digest != item.digest
        )
        if wrong:
            raise KeyfoldError(
                "conflict",
                f"{len(wrong)} objects of {partition} are not as in the backup after the restore: {wrong[0]} …",
                not_done="the restore is not recorded as finished",
                next_step="somebody changed them meanwhile, or: keyfold status; then run the restore again",
            )

    def _record(self, request: Request, prepared: _Prepared, ticket: str, who: str) -> dict[str, Any]:
        return {
            "ticket": ticket,
            "who": who,
            "partition": request.partition,
            "set_id": prepared.manifest.set_id,
            "mode": MODE,
            "selection": asdict(request.selection),
            "counts": prepared.plan.counts,
            "chargeable": True,
            "started": stamp(self._clock.utc()),
        }


@dataclass(frozen=True, slots=True)
class _Prepared:
    cluster: ClusterIdentity
    manifest: Manifest
    index: ArchiveIndex
    ciphertext: BinaryIO
    plan: RestorePlan


def _entry(manifest: Manifest, partition: str) -> ArchiveEntry:
    entry = manifest.partition(partition)
    if entry is None:
        known = ", ".join(one.name for one in manifest.partitions) or "none"
        raise KeyfoldError(
            "not_found",
            f"backup set {manifest.set_id} has no partition {partition} (it has: {known})",
            not_done="nothing was restored",
            next_step="keyfold backup list shows which set has which partitions",
        )
    return entry


def _in_order(prepared: _Prepared) -> Iterator[ArchivedObject]:
    """The token object first, so that a partition that comes back has its token with its first transaction."""
    writes = prepared.plan.writes
    if TOKEN_OBJECT in writes and prepared.index.token is not None:
        yield prepared.index.token
    files = set(writes) - {TOKEN_OBJECT}
    yield from read_objects(prepared.ciphertext, prepared.cluster, files)


def _batches(objects: Iterator[ArchivedObject]) -> Iterator[list[ArchivedObject]]:
    batch: list[ArchivedObject] = []
    size = 0
    for item in objects:
        if batch and (size + len(item.data) > _BATCH_BYTES or len(batch) >= _BATCH_OBJECTS):
            yield batch
            batch, size = [], 0
        batch.append(item)
        size += len(item.data)
    if batch:
        yield batch
