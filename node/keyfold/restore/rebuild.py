"""A cluster that is lost as a whole comes back as the same cluster: out of its root and the store (docs/custody.md).

Everything that can be checked is checked before anything is made: the root signs for the manifests, the manifests for
every archive's bytes. Then the agent makes the system partition, with which the archives open, and takes the rest.
"""

from __future__ import annotations

import json
import secrets
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyfold.backup import sets
from keyfold.backup.cluster import Agent, ClusterIdentity, ClusterState, identity_of
from keyfold.backup.cluster_archive import ArchivedEntry
from keyfold.backup.manifest import ArchiveEntry, Cluster, Manifest
from keyfold.backup.progress import Progress
from keyfold.backup.sets import StoredSet
from keyfold.backup.spool import scratch_file
from keyfold.clock import Clock
from keyfold.config import Config
from keyfold.custody.derive import root_fingerprint
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import SYSTEM
from keyfold.remote import Remote
from keyfold.replication import keys
from keyfold.restore.fetch import download, read_entries, read_index, read_objects
from keyfold.restore.rebuild_batches import entry_batches, object_batches

MAX_EPOCH = 255
_JOIN_SECONDS = 120.0
_POLL_SECONDS = 0.25

Sign = Callable[[bytes, int], bytes]


@dataclass(frozen=True, slots=True)
class Source:
    """The newest archive of a partition: `entry` of the set `manifest`."""

    manifest: Manifest
    entry: ArchiveEntry


@dataclass(frozen=True, slots=True)
class RebuildPlan:
    """`manifest`: of the set whose own archive says what the cluster was; `sources`: by partition."""

    manifest: Manifest
    sources: Mapping[str, Source]
    verified_sets: int


@dataclass(frozen=True, slots=True)
class Rebuilt:
    """`partitions`: name → live objects; `without_backup`: partitions that no set has; `entries`: of all else."""

    partitions: Mapping[str, int]
    without_backup: tuple[str, ...]
    invalidated: int
    entries: int


def plan(found: Sequence[StoredSet], wanted: str, root: bytes, cluster_uuid: str) -> RebuildPlan:
    """What to rebuild from: the set `wanted` (an ID or `latest`), older ones for partitions that it lacks. Pure.

    KeyfoldError `not_found`: no such set; `refused`: not signed by the cluster of this root, or of format 1.
    """
    if found and all(one.manifest is None for one in found):
        raise KeyfoldError(
            "refused",
            f"none of the store's {len(found)} sets of cluster {cluster_uuid} was made by the cluster of these shares: "
            f"{found[0].set_id}: {found[0].problem}",
            not_done="nothing was made",
            next_step="bring the shares of this cluster, or the store that holds its backups",
        )
    stored, manifest = sets.choose(found, wanted, {})
    if not manifest.cluster:
        raise _refused(manifest, "it was made before sets held what a cluster is rebuilt from (format 1)")
    if manifest.root_fingerprint not in ("", root_fingerprint(root, cluster_uuid)):
        raise _refused(manifest, "it names the root of another ceremony than that of these shares")
    sources: dict[str, Source] = {}
    for one in found:
        if one.manifest is not None and one.sequence <= stored.sequence:
            for entry in one.manifest.partitions:
                sources.setdefault(entry.name, Source(one.manifest, entry))
    return RebuildPlan(manifest, sources, sum(1 for one in found if one.manifest is not None))


def signers(root: bytes, cluster_uuid: str) -> Cluster:
    """Whose signature counts before there is a cluster: every epoch's key that derives from the root."""
    epochs = range(1, MAX_EPOCH + 1)
    derived = [MemorySystemKeys(root, cluster_uuid, (epoch,)).signing_public_key() for epoch in epochs]
    return Cluster(cluster_uuid, derived[0], tuple(derived[1:]))


class Rebuild:
    """`sign(message, epoch)` signs with the system partition that the rebuild makes on this node."""

    def __init__(self, agent: Agent, remote: Remote, config: Config, clock: Clock, sign: Sign) -> None:
        self._agent = agent
        self._cluster = ClusterState(agent)
        self._remote = remote
        self._config = config
        self._clock = clock
        self._sign = sign

    def preview(self, root: bytes, wanted: str) -> RebuildPlan:
        """What `run` would rebuild from; checks every archive's bytes, writes nothing that stays."""
        with self._checked(root, wanted) as (made, _):
            return made

    def run(self, root: bytes, wanted: str, custody: Mapping[str, Any] | None) -> tuple[RebuildPlan, Rebuilt]:
        """Rebuild, and prove it. Safe to repeat after an interruption: it goes on.

        `custody`: the ceremony's record, for as long as the cluster's own is not read yet. KeyfoldError as `plan`, and
        `conflict` where etcd holds a living cluster.
        """
        with self._checked(root, wanted) as (made, archives):
            row = {"name": self._config.cluster_name, "backup_epoch": made.manifest.backup_epoch, "custody": custody}
            begun = self._agent.call("rebuild_begin", root=root.hex(), set_id=made.manifest.set_id, row=row)
            self._joined()
            cluster = identity_of(begun["cluster"])
            (own,) = made.manifest.cluster
            entries = list(read_entries(archives[""], cluster, made.manifest, own))
            rebuilt = self._bring_back(made, archives, cluster, entries)
            self._prove(cluster)
            self._agent.call("rebuild_end", row=_own_row(entries, made.manifest, cluster))
            return made, rebuilt

    @contextmanager
    def _checked(self, root: bytes, wanted: str) -> Iterator[tuple[RebuildPlan, dict[str, BinaryIO]]]:
        """The plan, and every archive on this node's disk; "" is the cluster's own."""
        uuid = self._config.cluster_uuid
        found = sets.read_all(self._remote, signers(root, uuid), {})
        made = plan(found, wanted, root, uuid)
        sources = {"": Source(made.manifest, made.manifest.cluster[0]), **made.sources}
        with ExitStack() as stack:
            archives = {}
            for name, source in sources.items():
                archives[name] = stack.enter_context(scratch_file(self._config.state / "spool"))
                download(self._remote, uuid, source.manifest, source.entry, archives[name])
            yield made, archives

    def _joined(self) -> None:
        """Until this node's agent has the system partition, hence the data key, and age can use the backup key."""
        deadline = self._clock.monotonic() + _JOIN_SECONDS
        while self._agent.call("status")["cluster"] is None:
            if self._clock.monotonic() > deadline:
                raise KeyfoldError(
                    "conflict",
                    f"this node's agent has not joined the cluster within {_JOIN_SECONDS:g} s",
                    not_done="no partition was brought back; the cluster's own keys were",
                    next_step="journalctl -u keyfold-agent; then run playbooks/rebuild.yml again: it goes on",
                )
            self._clock.sleep(_POLL_SECONDS)

    def _bring_back(
        self,
        made: RebuildPlan,
        archives: Mapping[str, BinaryIO],
        cluster: ClusterIdentity,
        entries: Sequence[ArchivedEntry],
    ) -> Rebuilt:
        rows = _rows(entries)
        invalidated = _invalidated(entries)
        partitions: dict[str, int] = {}
        for name, row in rows.items():
            source = made.sources.get(name)
            if source is not None and source.entry.uuid == row["uuid"]:
                gone = invalidated.get(name, frozenset())
                partitions[name] = self._partition(row, source, archives[name], cluster, gone)
        back = [entry for entry in entries if _comes_back(entry.key, partitions)]
        for batch in entry_batches(back):
            self._agent.call("rebuild_entries", entries=batch)
        missing = tuple(sorted(set(rows) - set(partitions)))
        return Rebuilt(partitions, missing, sum(len(invalidated.get(name, ())) for name in partitions), len(back))

    def _partition(
        self,
        row: Mapping[str, Any],
        source: Source,
        archive: BinaryIO,
        cluster: ClusterIdentity,
        invalidated: frozenset[str],
    ) -> int:
        """Objects that were invalidated after the archive was made stay so."""
        name = str(row["name"])
        index = read_index(archive, cluster, source.manifest, source.entry)
        wanted = {item.file: item.digest for item in index.objects if item.file not in invalidated}
        if index.token is None or index.row["token_uuid"] != row["token_uuid"]:
            raise _refused(source.manifest, f"the archive of {name} does not hold the partition's token")
        others = (item for item in read_objects(archive, cluster, wanted) if item.file != index.token.file)
        with Progress(f"rebuilding {name}", len(wanted)) as bar:
            for batch in object_batches(index.token, others):
                self._agent.call("rebuild_partition", row=dict(row), objects=batch)
                bar.advance(len(batch))
        live = self._cluster.objects(name)
        wrong = sorted(file for file, digest in wanted.items() if file not in live or live[file].digest != digest)
        if wrong:
            raise KeyfoldError(
                "conflict",
                f"{len(wrong)} objects of {name} are not as in the backup after the rebuild: {wrong[0]} …",
                not_done="the rebuild is not recorded as finished",
                next_step="keyfold status; then run playbooks/rebuild.yml again",
            )
        return len(wanted)

    def _prove(self, cluster: ClusterIdentity) -> None:
        """The canary is the signing key: what it signs now verifies under the key that verified the old manifests."""
        challenge = b"keyfold rebuild canary\0" + secrets.token_bytes(32)
        try:
            key = Ed25519PublicKey.from_public_bytes(cluster.signing_public_key)
            key.verify(self._sign(challenge, cluster.backup_epoch), challenge)
        except InvalidSignature:
            raise KeyfoldError(
                "internal",
                "the rebuilt cluster's signing key does not sign as the lost one did",
                not_done="the rebuild is not recorded as finished",
                next_step="journalctl -t softhsm2; then run playbooks/rebuild.yml again",
            ) from None


def _own_row(entries: Sequence[ArchivedEntry], manifest: Manifest, cluster: ClusterIdentity) -> dict[str, Any]:
    row = next((json.loads(entry.value) for entry in entries if entry.key == keys.CLUSTER), None)
    if row is None or row["backup_key_fingerprint"] != cluster.backup_key_fingerprint:
        raise _refused(manifest, "the cluster's archive is not of the cluster that signed it")
    return {key: row.get(key) for key in ("name", "created", "custody")}


def _rows(entries: Sequence[ArchivedEntry]) -> dict[str, dict[str, Any]]:
    rows = {
        entry.key.removeprefix(keys.PARTITIONS): json.loads(entry.value)
        for entry in entries
        if entry.key.startswith(keys.PARTITIONS)
    }
    rows.pop(SYSTEM, None)
    return rows


def _invalidated(entries: Sequence[ArchivedEntry]) -> dict[str, frozenset[str]]:
    found: dict[str, set[str]] = {}
    for entry in entries:
        if entry.key.startswith(keys.INVALIDATED):
            name, _, file = entry.key.removeprefix(keys.INVALIDATED).partition("/")
            found.setdefault(name, set()).add(file)
    return {name: frozenset(files) for name, files in found.items()}


def _comes_back(key: str, partitions: Mapping[str, int]) -> bool:
    """Not what is made anew or brought back as objects, nor what belonged to a partition that does not come back."""
    if key.startswith(keys.INVALIDATED):
        return key.removeprefix(keys.INVALIDATED).partition("/")[0] in partitions
    return key != keys.CLUSTER and not key.startswith(keys.PARTITIONS)


def _refused(manifest: Manifest, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"backup set {manifest.set_id}: {reason}",
        not_done="the cluster was not rebuilt from it",
        next_step="keyfold rebuild info shows the store's sets; name another one with --set",
    )
