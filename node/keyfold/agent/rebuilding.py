"""Bring a lost cluster back into an empty etcd as the same cluster; `keyfold.restore.rebuild` says what with.

The cluster's row has `rebuilding` from the first transaction to the last: only so long is anything accepted here, and a
rebuild that was interrupted goes on where it stopped.
"""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from keyfold.agent.media import Media
from keyfold.agent.service import Service
from keyfold.audit.entry import REBUILD
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.config import credential
from keyfold.custody import record
from keyfold.custody.create import create_system_token
from keyfold.custody.epochs import add_backup_epoch
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.partition.policy import DEFAULT_POLICY, SYSTEM, check_name
from keyfold.replication import keys
from keyfold.replication.publish import CHANGES_PER_TRANSACTION
from keyfold.replication.sealed import ClearSealer, StoredObject
from keyfold.replication.token_files import live_puts
from keyfold.store.interface import KeyValue, Op, Put, Unchanged
from keyfold.token.object_file import TornFile, parse

Row = Mapping[str, Any]
# Made anew, of this moment, or brought back object by object.
_NOT_BY_ENTRIES = (keys.CLUSTER, keys.HEAD, keys.NODES, keys.OBJECTS, keys.PARTITIONS)
# Of one etcd, or of the moment: locks, leases, what refers to revisions. Not archived.
_PASSING = (
    keys.NODES,
    keys.AUDIT_LINKED,
    keys.AUDIT_WRITER,
    keys.EXPIRY,
    keys.HISTORY_DUE,
    # Who runs a backup now: the one that reads this, to begin with.
    keys.JOBS,
    keys.LOGINS,
)


class Rebuilding:
    def __init__(self, service: Service, media: Media) -> None:
        self._service = service
        self._store = service.store
        self._media = media

    def entries(self, revision: int) -> Iterator[KeyValue]:
        """What lasts of the cluster at `revision`, but for its objects: what the cluster's own archive holds."""
        for item in self._store.scan(keys.PREFIX, revision=revision, without=keys.OBJECTS):
            if not item.key.startswith(_PASSING) and item.key != keys.HEAD:
                yield item

    def begin(self, root: bytes, set_id: str, row: Row) -> dict[str, Any]:
        """`{"cluster", "changed"}`: the system partition is there again, with the backup keys of all epochs.

        `row`: `name`, `backup_epoch`, `custody`. Unchanged if this rebuild has begun already. KeyfoldError `conflict`:
        etcd holds a living cluster, or the rebuild of another set.
        """
        there = self._store.get(keys.CLUSTER)
        if there is not None:
            return {"cluster": self._going_on(json.loads(there.value), set_id), "changed": False}
        cluster_uuid, epochs = self._service.config.cluster_uuid, int(row["backup_epoch"])
        now = stamp(self._service.clock.utc())
        token_uuid, files, cluster = self._system_token(root, cluster_uuid, epochs, now)
        cluster |= {"uuid": cluster_uuid, "name": row["name"], "epoch": record.DATA_EPOCH, "custody": row["custody"]}
        cluster |= {"created": now, "rebuilding": {"set_id": set_id, "begun": now}}
        system = {
            "name": SYSTEM,
            "uuid": str(uuid.uuid4()),
            "token_uuid": token_uuid,
            "package": "SYSTEM",
            "policy": dict(DEFAULT_POLICY),
            "backup": False,
            "created": now,
        }
        ops: list[Op] = [Put(keys.HEAD, b""), Put(keys.CLUSTER, json.dumps(cluster).encode())]
        ops.append(Put(keys.partition(SYSTEM), json.dumps(system).encode()))
        ops += live_puts(SYSTEM, files, ClearSealer(), now)
        # In the first transaction of all, so that it is the first entry that continues the old chain.
        ops.append(self._note(REBUILD, cluster=cluster_uuid, set_id=set_id))
        self._commit([Unchanged(keys.CLUSTER, 0)], ops)
        return {"cluster": cluster, "changed": True}

    def partition(self, row: Row, objects: Mapping[str, StoredObject]) -> dict[str, Any]:
        """`{"added"}`: the partition and these objects of it are live. What is live already is passed over."""
        self._rebuilding()
        name = check_name(row["name"])
        for file, content in objects.items():
            _check(file, content)
        sealer = self._service.registry.sealer(name)
        live = {
            item.key.removeprefix(keys.objects(name)) for item in self._store.scan(keys.objects(name), keys_only=True)
        }
        missing = sorted(set(objects) - live)
        compares: list[Unchanged] = []
        ops: list[Op] = []
        if self._store.get(keys.partition(name)) is None:
            compares.append(Unchanged(keys.partition(name), 0))
            ops.append(Put(keys.partition(name), compact(dict(row))))
        for start in range(0, max(len(missing), 1), CHANGES_PER_TRANSACTION):
            for file in missing[start : start + CHANGES_PER_TRANSACTION]:
                key = keys.live(name, file)
                compares.append(Unchanged(key, 0))
                ops.append(Put(key, sealer.seal(key, objects[file])))
            if ops:
                self._commit(compares, [Put(keys.HEAD, b""), *ops])
            compares, ops = [], []
        return {"added": len(missing)}

    def put_entries(self, entries: Sequence[tuple[str, bytes]]) -> dict[str, Any]:
        """`{"added"}`: these keys are in etcd again, value for value; those that are there keep what they have."""
        self._rebuilding()
        for key, _ in entries:
            if not key.startswith(keys.PREFIX) or key.startswith(_NOT_BY_ENTRIES):
                raise KeyfoldError(
                    "refused",
                    f"the cluster's archive has an entry that cannot come back: {key}",
                    not_done="none of these entries was written",
                    next_step="keyfold backup verify; then rebuild from an older set",
                )
        missing = [(key, value) for key, value in entries if self._store.get(key) is None]
        for start in range(0, len(missing), CHANGES_PER_TRANSACTION):
            part = missing[start : start + CHANGES_PER_TRANSACTION]
            self._commit([Unchanged(key, 0) for key, _ in part], [Put(key, value) for key, value in part])
        return {"added": len(missing)}

    def end(self, row: Row) -> dict[str, Any]:
        """`{"cluster"}`: the rebuild is over; the cluster's row is again the one in the archive."""
        self._rebuilding()
        self._media.bring_back()
        item, cluster = self._rebuilding()
        now = stamp(self._service.clock.utc())
        begun = cluster.pop("rebuilding")
        cluster |= {key: row[key] for key in ("created", "custody", "name")}
        kept = {"finished": now, **begun}
        self._commit(
            [Unchanged(keys.CLUSTER, item.mod_revision)],
            [
                Put(keys.HEAD, b""),
                Put(keys.CLUSTER, json.dumps(cluster).encode()),
                Put(keys.records("rebuild", begun["begun"]), json.dumps(kept).encode()),
                self._note("rebuild finished", **kept),
            ],
        )
        return {"cluster": cluster}

    def _note(self, what: str, **detail: Any) -> Put:
        return note(self._service.clock, self._service.config.node, what=what, who="administrator", **detail)

    def _system_token(
        self, root: bytes, cluster_uuid: str, epochs: int, now: str
    ) -> tuple[str, dict[str, bytes], dict[str, Any]]:
        pin = credential("system.pin")
        scratch = Path(tempfile.mkdtemp(dir=self._service.config.state / "agent", prefix="rebuild-"))
        try:
            made = create_system_token(scratch, 0, 0, pin, root, cluster_uuid)
            token = scratch / "tokens" / made.token_uuid
            files = {path.name: path.read_bytes() for path in token.glob("*.object")}
            cluster: dict[str, Any] = record.backup_keys_row(made.backup_public_key, made.signing_public_key)
            cluster["audit_public_keys"] = {str(record.DATA_EPOCH): made.audit_public_key.hex()}
            for epoch in range(2, epochs + 1):
                added = add_backup_epoch(scratch / f"epoch-{epoch}", files, pin, root, cluster_uuid, epoch)
                files |= added.files
                fresh = record.backup_keys_row(added.backup_public_key, added.signing_public_key)
                cluster = record.next_epoch(cluster, fresh, now)
        finally:
            shutil.rmtree(scratch)
        return made.token_uuid, files, {"backup_epoch": 1, "older_backup_keys": [], **cluster}

    def _going_on(self, cluster: dict[str, Any], set_id: str) -> dict[str, Any]:
        rebuilding = cluster.get("rebuilding")
        if rebuilding is not None and rebuilding["set_id"] == set_id:
            return cluster
        state = "is alive" if rebuilding is None else f"is being rebuilt from set {rebuilding['set_id']}"
        raise KeyfoldError(
            "conflict",
            f"the cluster {cluster['name']} ({cluster['uuid']}) {state}",
            not_done="nothing was rebuilt",
            next_step="keyfold status; a living cluster is mended with playbooks/restore.yml, a rebuild that was begun "
            "goes on with the same set",
        )

    def _rebuilding(self) -> tuple[KeyValue, dict[str, Any]]:
        item = self._store.get(keys.CLUSTER)
        cluster = None if item is None else json.loads(item.value)
        if item is None or cluster is None or "rebuilding" not in cluster:
            raise KeyfoldError(
                "conflict",
                "no rebuild of this cluster is under way",
                not_done="nothing was written",
                next_step="keyfold status; playbooks/rebuild.yml begins one where there is no cluster",
            )
        return item, cluster

    def _commit(self, compares: Sequence[Unchanged], ops: Sequence[Op]) -> None:
        if not self._store.txn(compares, ops).succeeded:
            raise KeyfoldError(
                "conflict",
                "the cluster changed while it was being rebuilt",
                not_done="the rest was not brought back",
                next_step="run playbooks/rebuild.yml again: it goes on where it stopped",
            )


def _check(file: str, content: StoredObject) -> None:
    try:
        parse(content.data)
    except TornFile as error:
        raise _refused(file, str(error)) from error
    if not file.endswith(".object") or "/" in file or file.startswith("."):
        raise _refused(file, "not the name of an object file")


def _refused(file: str, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the object {file!r} of the backup cannot be brought back: {reason}",
        not_done="nothing of this batch was written",
        next_step="keyfold backup verify; then rebuild from an older set",
    )
