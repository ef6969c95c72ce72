"""What backup and restore ask of the agent, with types (docs/interfaces.md §3)."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from keyfold.backup import manifest, recipient
from keyfold.backup.archive import ArchivedObject
from keyfold.backup.cluster_archive import ArchivedEntry
from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.jobs.hold import Hold, held

# What the partition's declaration is; the rest of a partition_list row are figures of the moment.
_DECLARED = ("name", "uuid", "token_uuid", "package", "policy", "backup", "created")


class Agent(Protocol):
    """AgentClient, or its double."""

    def call(self, op: str, **params: Any) -> dict[str, Any]: ...

    def stream(self, op: str, **params: Any) -> Iterator[dict[str, Any]]: ...


@dataclass(frozen=True, slots=True)
class ClusterIdentity:
    """`backup_recipient`: for age; `signing_public_key`: 32 bytes.

    These are the current ones, of `backup_epoch`; `older`: rows of the epochs before, as in `cluster_info`.
    `custody`: the public record of the ceremony.
    """

    uuid: str
    backup_recipient: str
    backup_key_fingerprint: str
    signing_public_key: bytes
    signing_key_fingerprint: str
    backup_epoch: int = 1
    older: tuple[Mapping[str, Any], ...] = ()
    custody: Mapping[str, Any] | None = None

    @property
    def backup_identity(self) -> str:
        """What age needs to find the private keys, one line for each epoch; no secret."""
        recipients = [self.backup_recipient, *(row["backup_recipient"] for row in self.older if not row["retired"])]
        points = [recipient.decode_recipient(one) for one in recipients]
        return "\n".join(recipient.encode_identity(recipient.tag(point)) for point in points)

    @property
    def signer(self) -> manifest.Cluster:
        older = tuple(bytes.fromhex(row["signing_public_key"]) for row in self.older)
        return manifest.Cluster(self.uuid, self.signing_public_key, older)


@dataclass(frozen=True, slots=True)
class Partition:
    """`row`: the declaration as etcd has it, without figures; `live_bytes`: of its object files."""

    name: str
    uuid: str
    token_uuid: str
    package: str
    backup: bool
    objects: int
    live_bytes: int
    row: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class LiveObject:
    """`digest`: its identity without SoftHSM's generation counter; `revision`: of its last change; `size` in bytes."""

    file: str
    digest: str
    revision: int
    size: int = 0
    object_class: int | None = None
    label: str | None = None
    id: str | None = None


class SnapshotObject(NamedTuple):
    """An object as it was at the snapshot's revision. `meta`: canonical JSON.

    `digest`: what this node's file of it is, if it is intact; None where the node did not have that revision.
    """

    partition: str
    file: str
    meta: str
    digest: str | None


def identity_of(row: Mapping[str, Any]) -> ClusterIdentity:
    """The identity in a cluster's row (docs/interfaces.md §4)."""
    return ClusterIdentity(
        row["uuid"],
        row["backup_recipient"],
        row["backup_key_fingerprint"],
        bytes.fromhex(row["signing_public_key"]),
        row["signing_key_fingerprint"],
        row.get("backup_epoch", 1),
        tuple(row.get("older_backup_keys", ())),
        row.get("custody"),
    )


class ClusterState:
    """Typed calls; every error is the agent's KeyfoldError."""

    def __init__(self, agent: Agent) -> None:
        self._agent = agent

    def identity(self) -> ClusterIdentity:
        return identity_of(self._agent.call("cluster_info")["cluster"])

    def partitions(self) -> list[Partition]:
        return [_partition(row) for row in self._agent.call("partition_list")["partitions"]]

    def snapshot(self, names: Sequence[str]) -> tuple[int, list[Partition], Iterator[SnapshotObject]]:
        """(revision, the partitions as they were then, their objects in order of partition and file).

        Contents are read from the node's own files, where they are what the snapshot says, or asked for
        (`object_at`): most of a cluster need not pass through etcd and the agent to be backed up.
        """
        replies = self._agent.stream("snapshot", partitions=list(names))
        head = next(replies)
        return head["revision"], [_partition(row) for row in head["partitions"]], _whole(replies)

    def object_at(self, partition: str, file: str, revision: int) -> ArchivedObject:
        """One object as etcd had it at the revision; KeyfoldError `not_found` if there was none."""
        reply = self._agent.call("object_at", partition=partition, file=file, revision=revision)
        return ArchivedObject(file, reply["meta"], base64.b64decode(reply["data"], validate=True))

    def entries(self, revision: int) -> Iterator[ArchivedEntry]:
        """The cluster's own keys and values in etcd at `revision`: partitions' rows, invalidated objects, records.

        KeyfoldError `agent_down` if the stream ends before its end was announced.
        """
        count = 0
        for reply in self._agent.stream("cluster_entries", revision=revision):
            if reply.get("end"):
                if reply["entries"] == count:
                    return
                break
            count += 1
            yield ArchivedEntry(reply["key"], base64.b64decode(reply["value"], validate=True))
        raise _cut_short(f"{count} entries of the cluster")

    def local_files(self, partition: str) -> list[str]:
        files: list[str] = self._agent.call("local_files", partition=partition)["files"]
        return files

    def local_digests(self, partition: str) -> dict[str, str]:
        digests: dict[str, str] = self._agent.call("local_digests", partition=partition)["digests"]
        return digests

    def local_digests_of(self, partition: str, files: Sequence[str]) -> dict[str, str]:
        """Of these files only, those that are there."""
        digests: dict[str, str] = self._agent.call("local_digests", partition=partition, files=list(files))["digests"]
        return digests

    def objects(
        self, partition: str, *, invalidated: bool = False, files: Sequence[str] | None = None
    ) -> dict[str, LiveObject]:
        """By file; only `files`, if they are given, which spares the agent the rest of the partition."""
        return _objects(self._list(partition, invalidated, files))

    def invalidated(self, partition: str, files: Sequence[str] | None = None) -> tuple[dict[str, LiveObject], set[str]]:
        """(invalidated objects by file, files that were forgotten for good)."""
        reply = self._list(partition, True, files)
        return _objects(reply), set(reply["purged"])

    def _list(self, partition: str, invalidated: bool, files: Sequence[str] | None) -> dict[str, Any]:
        only = {} if files is None else {"files": list(files)}
        return self._agent.call("object_list", partition=partition, invalidated=invalidated, **only)

    def nodes(self) -> tuple[int, list[dict[str, Any]]]:
        """(revision nodes can be behind of, the nodes), as `keyfold status` shows them."""
        status = self._agent.call("status")
        return int(status["revision"]), status["nodes"]

    def restoring(self, step: str, approval: Mapping[str, Any], **params: Any) -> dict[str, Any]:
        """`begin`, `apply` or `finish` what officers have approved; see docs/interfaces.md §3."""
        return self._agent.call(f"restore_{step}", approval=dict(approval), **params)

    def hold(self, job: str, clock: Clock) -> AbstractContextManager[Hold]:
        """The job, of which the cluster runs one at a time; KeyfoldError `conflict` says who runs it."""
        return held(self._agent, clock, job)

    def records(self, kind: str) -> dict[str, dict[str, Any]]:
        records: dict[str, dict[str, Any]] = self._agent.call("record_list", kind=kind)["records"]
        return records

    def put_record(self, kind: str, record: str, value: Mapping[str, Any]) -> None:
        self._agent.call("record_put", kind=kind, id=record, value=dict(value))


def _objects(reply: Mapping[str, Any]) -> dict[str, LiveObject]:
    return {
        row["file"]: LiveObject(
            row["file"],
            row["digest"],
            row["revision"],
            row["size"],
            row.get("class"),
            row.get("label"),
            row.get("id"),
        )
        for row in reply["objects"]
    }


def _whole(replies: Iterator[dict[str, Any]]) -> Iterator[SnapshotObject]:
    """The objects of a snapshot; KeyfoldError `agent_down` if the stream ends before its end was announced."""
    count = 0
    for reply in replies:
        if reply.get("end"):
            if reply["objects"] == count:
                return
            break
        count += len(reply["objects"])
        name = reply["partition"]
        for file, meta, digest in reply["objects"]:
            yield SnapshotObject(name, file, meta, digest)
    raise _cut_short(f"{count} objects")


def _cut_short(after: str) -> KeyfoldError:
    return KeyfoldError(
        "agent_down",
        f"the agent's snapshot ended after {after}, before its end",
        not_done="no backup set was published",
        next_step="systemctl status keyfold-agent; then run: keyfold backup run",
    )


def _partition(row: Mapping[str, Any]) -> Partition:
    return Partition(
        name=row["name"],
        uuid=row["uuid"],
        token_uuid=row["token_uuid"],
        package=row["package"],
        backup=row["backup"],
        objects=row["objects"],
        live_bytes=row["live_bytes"],
        row={key: row[key] for key in _DECLARED},
    )
