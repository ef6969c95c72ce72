"""Make a backup set: snapshot → archives → store → signed manifest. Published last, or not at all (design §6)."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, timedelta
from itertools import groupby
from pathlib import Path
from typing import Any

from keyfold.backup import manifest, sets
from keyfold.backup.age import Encryption
from keyfold.backup.archive import FORMAT, ArchiveWriter, Label
from keyfold.backup.cluster import ClusterIdentity, ClusterState, Partition, SnapshotObject
from keyfold.backup.cluster_archive import FORMAT as CLUSTER_FORMAT
from keyfold.backup.cluster_archive import STEM as CLUSTER_STEM
from keyfold.backup.cluster_archive import ClusterArchiveWriter, ClusterLabel
from keyfold.backup.manifest import ArchiveEntry, Difference, Manifest
from keyfold.backup.plan import PublishedSet, differences, eligible, made_lately, named, next_in_chain
from keyfold.backup.progress import Progress
from keyfold.backup.spool import backup_run
from keyfold.backup.upload import Uploads, publish_manifest, upload_archive
from keyfold.clock import Clock, stamp
from keyfold.config import Config
from keyfold.jobs.hold import Hold
from keyfold.json_bytes import canonical
from keyfold.remote import Remote
from keyfold.token.object_file import TornFile, identity
from keyfold.token.peek import peeking

JOB = "backup"
# Longer than the timers of several nodes and repeated attempts lie apart, much shorter than a day: a run that was made
# up for in the morning does not cost the next night's.
DAILY_WITHIN = timedelta(hours=6)


@dataclass(frozen=True, slots=True)
class BackupPlan:
    """What a run would make: the set's number, the hash of the manifest before it, and the partitions."""

    sequence: int
    previous_sha256: str
    partitions: tuple[Partition, ...]


@dataclass(frozen=True, slots=True)
class _Sealed:
    """An archive in the spool. `differing`: where a partition's is not what this node has on its disk."""

    name: str
    uuid: str
    file: Path
    size: int
    sha256: str
    objects: int
    differing: tuple[Difference, ...] = ()


@dataclass(frozen=True, slots=True)
class Sealing:
    """What archives are sealed to: age's recipient, and the key's fingerprint for the manifest."""

    recipient: str
    fingerprint: str


@dataclass(frozen=True, slots=True)
class Turn:
    """The one backup run there may be at a time, on the node and in the cluster. `spool`: an empty directory for it."""

    spool: Path
    hold: Hold


@contextmanager
def turn(cluster: ClusterState, config: Config, clock: Clock) -> Iterator[Turn]:
    """KeyfoldError `conflict`, before anything is done, says which node has it."""
    with backup_run(config.state / "spool") as spool, cluster.hold(JOB, clock) as hold:
        yield Turn(spool, hold)


class Backup:
    """`sign` makes the cluster's Ed25519 signature (64 bytes) of an epoch; archives need just the public recipient."""

    def __init__(
        self,
        cluster: ClusterState,
        remote: Remote,
        sign: Callable[[bytes, int], bytes],
        config: Config,
        clock: Clock,
    ) -> None:
        self._cluster = cluster
        self._remote = remote
        self._sign = sign
        self._config = config
        self._clock = clock

    def plan(self, asked: Sequence[str] = ()) -> BackupPlan:
        """Read the cluster and the store; change nothing."""
        identity_ = self._cluster.identity()
        records = self._cluster.records(sets.RECORD_KIND)
        stored = sets.read_all(self._remote, identity_.signer, records)
        sequence, previous = next_in_chain(
            (PublishedSet(int(row["sequence"]), str(row["manifest_sha256"])) for row in records.values()),
            (PublishedSet(one.sequence, one.manifest_sha256) for one in stored if one.manifest is not None),
        )
        partitions = eligible(self._cluster.partitions(), self._config.packages, asked)
        return BackupPlan(sequence, previous, tuple(partitions))

    def run(
        self, asked: Sequence[str] = (), retention_class: str = manifest.DAILY, *, daily: bool = False
    ) -> Manifest | None:
        """Make one set of the partitions asked for (none: all that are entitled); None if there is nothing to do.

        `daily`: there is nothing to do either where a set of all of them was made within the last DAILY_WITHIN.

        The plan is made in its turn. Whatever fails before the manifest is in the store leaves no set. KeyfoldError
        `conflict` says which node makes one already.
        """
        with turn(self._cluster, self._config, self._clock) as ours:
            plan = self.plan(asked)
            if not plan.partitions or (daily and self._made_lately(plan)):
                return None
            return self._publish(plan, ours, retention_class)

    def run_for_medium(self, ours: Turn, asked: Sequence[str], sealing: Sealing) -> Manifest:
        """Make the one set of an offline medium, sealed to the medium's own key, in no chain with the store's.

        The cluster's own archive is not in it, for that holds the keys of other media. Nor is it recorded as a backup
        set: the register of media has it. Errors as `run`, and those of `plan.named`.
        """
        plan = BackupPlan(1, "", tuple(named(self._cluster.partitions(), asked)))
        return self._publish(plan, ours, manifest.MEDIUM, sealing)

    def _made_lately(self, plan: BackupPlan) -> bool:
        records = sets.without_safety(self._cluster.records(sets.RECORD_KIND))
        return made_lately(records, plan.partitions, self._clock.utc(), DAILY_WITHIN) is not None

    def _publish(self, plan: BackupPlan, ours: Turn, retention_class: str, sealing: Sealing | None = None) -> Manifest:
        now = self._clock.utc()
        set_id = f"{now.astimezone(UTC):%Y%m%dT%H%M%SZ}-{secrets.token_hex(4)}"
        cluster = self._cluster.identity()
        to = sealing or Sealing(cluster.backup_recipient, cluster.backup_key_fingerprint)
        place = self._make_place(cluster.uuid, set_id)
        with Uploads[_Sealed, ArchiveEntry](lambda one: self._upload(place, one)) as uploads:
            revision, sealed = self._seal(plan, set_id, cluster.uuid, to.recipient, ours.spool, uploads)
            if sealing is None:
                uploads.begin(self._seal_cluster(set_id, cluster, revision, ours.spool))
            archives = uploads.ended()
        made = Manifest(
            format=manifest.FORMAT,
            cluster_uuid=cluster.uuid,
            backup_key_fingerprint=to.fingerprint,
            signing_key_fingerprint=cluster.signing_key_fingerprint,
            set_id=set_id,
            sequence=plan.sequence,
            previous_sha256=plan.previous_sha256,
            created=stamp(now),
            retention_class=retention_class,
            revision=revision,
            node=self._config.node,
            partitions=tuple(archives[: len(sealed)]),
            differences=tuple(difference for one in sealed for difference in one.differing),
            backup_epoch=cluster.backup_epoch,
            **_custody(cluster),
            cluster=tuple(archives[len(sealed) :]),
        )
        document = manifest.signed(made, lambda body: self._sign(body, cluster.backup_epoch))
        manifest.verify(document, cluster.signer)
        file = ours.spool / manifest.NAME
        file.write_bytes(document)
        # Two sets of one number would break the chain: only who certainly holds the job publishes.
        ours.hold.require()
        publish_manifest(self._remote, place, file, manifest.sha256(document), self._clock)
        if sealing is None:
            self._cluster.put_record(sets.RECORD_KIND, set_id, _record(made, document))
        return made

    def _make_place(self, cluster_uuid: str, set_id: str) -> str:
        self._remote.make_collection(cluster_uuid)
        place = sets.collection(cluster_uuid, set_id)
        self._remote.make_collection(place)
        return place

    def _seal(
        self,
        plan: BackupPlan,
        set_id: str,
        cluster_uuid: str,
        recipient: str,
        spool: Path,
        uploads: Uploads[_Sealed, ArchiveEntry],
    ) -> tuple[int, list[_Sealed]]:
        """No archive waits for the upload of another: the agent's snapshot is not held open for a slow store."""
        names = [partition.name for partition in plan.partitions]
        revision, rows, objects = self._cluster.snapshot(names)
        partitions = {partition.name: partition for partition in rows}
        sealed = []
        with Progress("sealing", sum(row.objects for row in rows)) as bar:
            for name, group in groupby(objects, key=lambda item: item.partition):
                label = Label(FORMAT, cluster_uuid, set_id, name, partitions[name].uuid)
                target = spool / f"{name}.age"
                sealed.append(self._archive(partitions[name], label, group, revision, recipient, target, bar))
                uploads.begin(sealed[-1])
        return revision, sealed

    def _archive(
        self,
        partition: Partition,
        label: Label,
        objects: Iterator[SnapshotObject],
        revision: int,
        recipient: str,
        target: Path,
        bar: Progress,
    ) -> _Sealed:
        """Contents come from this node's own files, which are so compared with what is committed at the same time."""
        there: set[str] = set()
        differing: dict[str, str] = {}
        tokens = self._config.partition_directory(partition.name) / "tokens" / partition.token_uuid
        with Encryption(recipient, target) as encryption, peeking(tokens) as peek:
            writer = ArchiveWriter(encryption, label, partition.row)
            for item in objects:
                found = peek(item.file)
                local = None if found is None else _identity(found)
                there.add(item.file)
                bar.advance(1)
                if found is not None and local == item.digest:
                    writer.add(item.file, item.meta.encode(), found)
                    continue
                committed = self._cluster.object_at(partition.name, item.file, revision)
                writer.add(item.file, canonical(committed.meta), committed.data)
                digest = identity(committed.data)
                if digest != local:
                    differing[item.file] = digest
            writer.close()
        extra = [file for file in self._cluster.local_files(partition.name) if file not in there]
        differences_ = self._differences(partition.name, differing, extra, revision)
        return _Sealed(
            partition.name, partition.uuid, target, encryption.size, encryption.sha256, len(there), tuple(differences_)
        )

    def _seal_cluster(self, set_id: str, cluster: ClusterIdentity, revision: int, spool: Path) -> _Sealed:
        """What makes a set enough to rebuild the cluster from, at the same revision as the partitions' archives."""
        file = spool / f"{CLUSTER_STEM}.age"
        count = 0
        with Encryption(cluster.backup_recipient, file) as encryption:
            writer = ClusterArchiveWriter(encryption, ClusterLabel(CLUSTER_FORMAT, cluster.uuid, set_id, revision))
            for entry in self._cluster.entries(revision):
                writer.add(entry)
                count += 1
            writer.close()
        return _Sealed(CLUSTER_STEM, cluster.uuid, file, encryption.size, encryption.sha256, count)

    def _upload(self, place: str, one: _Sealed) -> ArchiveEntry:
        name = upload_archive(self._remote, place, one.name, one.file, one.sha256, self._clock)
        one.file.unlink()
        return ArchiveEntry(one.name, one.uuid, name, one.objects, one.size, one.sha256)

    def _differences(
        self, name: str, committed: Mapping[str, str], extra: Sequence[str], revision: int
    ) -> list[Difference]:
        """Of files that looked different: now they are read under SoftHSM's locks."""
        if not committed and not extra:
            return []
        local = self._cluster.local_digests_of(name, [*committed, *extra])
        return differences(name, committed, local, self._cluster.objects(name), revision)


def _identity(found: bytes) -> str:
    """Nothing for a file that is torn at this moment."""
    try:
        return identity(found)
    except TornFile:
        return ""


def _custody(cluster: ClusterIdentity) -> dict[str, Any]:
    """What lets shares be told apart before anything is done with them."""
    if cluster.custody is None:
        return {}
    return {
        "root_fingerprint": cluster.custody["root_fingerprint"],
        "share_identifier": cluster.custody["identifier"],
        "share_threshold": cluster.custody["threshold"],
    }


def _record(made: Manifest, document: bytes) -> dict[str, Any]:
    """What etcd remembers of a set: enough to notice a store that lost, changed or replayed it."""
    return {
        "set_id": made.set_id,
        "sequence": made.sequence,
        "manifest_sha256": manifest.sha256(document),
        "created": made.created,
        "retention_class": made.retention_class,
        "node": made.node,
        "revision": made.revision,
        "partitions": [entry.name for entry in made.partitions],
        "differences": [asdict(difference) for difference in made.differences],
        "verified": True,
    }
