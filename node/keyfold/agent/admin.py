"""The administrator's operations on the agent's socket (docs/interfaces.md §3)."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keyfold.agent.genesis import Genesis
from keyfold.agent.officers import OfficersOperations
from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.backup import sets
from keyfold.backup.archive import TOKEN_OBJECT
from keyfold.errors import KeyfoldError
from keyfold.invalidation.expiry import expires_at
from keyfold.json_bytes import compact
from keyfold.media import register as media
from keyfold.replication import keys
from keyfold.replication.sealed import StoredObject
from keyfold.store.interface import KeyValue, Put
from keyfold.token.object_file import identity

Request = Mapping[str, Any]

_FEW = 32
# Keys without values: of etcd at a time, and of a reply.
_PAGE = 5_000
_PART = 500


class AdminOperations:
    def __init__(self, service: Service, genesis: Genesis, partitions: Partitions) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry
        self._genesis = genesis
        self._partitions = partitions
        self._officers = OfficersOperations(service)

    def table(self) -> dict[str, Operation]:
        operations: dict[str, Operation] = {
            "status": self._status,
            "cluster_init": self._cluster_init,
            "cluster_info": self._cluster_info,
            "partition_list": self._partition_list,
            "partition_apply": self._partition_apply,
            "partition_handover": self._partition_handover,
            "object_list": self._object_list,
            "snapshot": self._snapshot,
            "object_at": self._object_at,
            "local_digests": self._local_digests,
            "local_files": self._local_files,
            "record_put": self._record_put,
            "record_list": self._record_list,
            "audit_entries": self._audit_entries,
            **self._officers.table(),
        }
        return {name: administrator_only(operation) for name, operation in operations.items()}

    # --- the cluster ------------------------------------------------------------------------------------------

    def _status(self, caller: Caller, request: Request) -> Reply:
        nodes = {name: {**row, "agent": "down", "applied_revision": 0} for name, row in self._records("node").items()}
        for item in self._store.scan(keys.NODES):
            row = json.loads(item.value)
            nodes[row["name"]] = {**row, "agent": "up"}
        head = self._store.get(keys.HEAD)
        newest = 0 if head is None else head.mod_revision
        backups = sets.without_safety(self._records(sets.RECORD_KIND))
        return {
            # As this node has joined it, in its present state: keys rotate.
            "cluster": self._cluster_info(caller, request)["cluster"] if self._registry.cluster else None,
            "node": self._service.config.node,
            "quorum": True,
            "revision": newest,
            "problem": self._service.problem,
            "etcd": [
                {"name": member.name, "healthy": member.healthy, "leader": member.leader, "error": member.error}
                for member in self._store.members()
            ],
            "nodes": [
                {**row, "lag": max(newest - row["applied_revision"], 0) if row["agent"] == "up" else None}
                for _, row in sorted(nodes.items())
            ],
            "partitions": self._partitions.rows() if self._registry.cluster else [],
            "audit": self._service.audit.summary(),
            "media": [row for row in self._records(media.RECORD_KIND).values() if not row["certificate"]],
            "last_backup": backups[max(backups)] if backups else None,
        }

    def _cluster_init(self, caller: Caller, request: Request) -> Reply:
        return self._genesis.found(
            request["name"], request["uuid"], bytes.fromhex(request["root"]), request.get("custody")
        )

    def _cluster_info(self, caller: Caller, request: Request) -> Reply:
        item = self._store.get(keys.CLUSTER)
        if item is None:
            raise KeyfoldError(
                "not_found",
                "there is no cluster in etcd yet",
                not_done="nothing was read",
                next_step="run playbooks/site.yml, which founds it",
            )
        return {"cluster": json.loads(item.value)}

    # --- partitions and objects -------------------------------------------------------------------------------

    def _partition_list(self, caller: Caller, request: Request) -> Reply:
        return {"partitions": self._partitions.rows()}

    def _partition_apply(self, caller: Caller, request: Request) -> Reply:
        approvals = request.get("approvals") or ()
        return self._partitions.apply(request["partitions"], check=bool(request.get("check")), approvals=approvals)

    def _partition_handover(self, caller: Caller, request: Request) -> Reply:
        return self._partitions.handover([str(name) for name in request["partitions"]])

    def _object_list(self, caller: Caller, request: Request) -> Reply:
        name, invalidated = request["partition"], bool(request.get("invalidated"))
        days = int(self._partitions.row(name)["policy"]["invalidation_days"])
        prefix = keys.invalidated(name) if invalidated else keys.objects(name)
        only = request.get("files")
        rows = []
        for item, content in self._opened(name, prefix) if only is None else self._named(name, prefix, only):
            rows.append(
                {
                    "file": item.key.removeprefix(prefix),
                    **content.meta,
                    **_expiry(content, days),
                    "size": len(content.data),
                    "revision": item.mod_revision,
                    "digest": identity(content.data),
                }
            )
        return {"objects": rows, **({"purged": self._purged(name, only)} if invalidated else {})}

    def _named(self, name: str, prefix: str, files: Sequence[str]) -> Iterator[tuple[KeyValue, StoredObject]]:
        """A few by name; many are read with all the others, which is faster than one by one."""
        if len(files) > _FEW:
            wanted = set(files)
            yield from (one for one in self._opened(name, prefix) if one[0].key.removeprefix(prefix) in wanted)
            return
        sealer = self._registry.sealer(name)
        for file in files:
            item = self._store.get(prefix + file)
            if item is not None:
                yield item, sealer.open(item.key, item.value)

    def _purged(self, name: str, only: Sequence[str] | None) -> list[str]:
        if only is not None and len(only) <= _FEW:
            return [file for file in only if self._store.get(keys.purged(name, file)) is not None]
        found = self._store.scan(keys.purged(name), keys_only=True)
        return [item.key.removeprefix(keys.purged(name)) for item in found]

    def _snapshot(self, caller: Caller, request: Request) -> Iterator[Reply]:
        """All objects of the partitions at one revision, in order of partition and file."""
        scan = self._store.scan(keys.PARTITIONS, revision=request.get("revision", 0))
        declared = {item.key.removeprefix(keys.PARTITIONS): json.loads(item.value) for item in scan}
        wanted = sorted(request.get("partitions") or declared)
        for name in wanted:
            if name not in declared:
                self._partitions.missing(name)
        rows = self._partitions.rows(scan.revision)
        yield {"revision": scan.revision, "partitions": [row for row in rows if row["name"] in wanted]}
        count = 0
        for name in wanted:
            for part in self._described(name, scan.revision):
                count += len(part)
                yield {"partition": name, "objects": part}
        yield {"end": True, "objects": count}

    def _described(self, name: str, revision: int) -> Iterator[list[tuple[str, str, str | None]]]:
        """`[file, metadata, digest]` of the partition's objects at the revision, some at a time.

        What this node has committed of an object it knows without reading the object in etcd. Without a digest: it does
        not know that revision of it. A token object's own bytes are the committed ones alone: logins change the file.
        """
        prefix, listed = keys.objects(name), self._service.base.listed(name)
        part: list[tuple[str, str, str | None]] = []
        for item in self._store.scan(prefix, revision=revision, keys_only=True, page=_PAGE):
            file = item.key.removeprefix(prefix)
            at, digest, meta = listed.get(file, (0, "", ""))
            part.append((file, meta, digest) if at == item.mod_revision and file != TOKEN_OBJECT else (file, "", None))
            if len(part) == _PART:
                yield part
                part = []
        yield part

    def _object_at(self, caller: Caller, request: Request) -> Reply:
        """One object at a revision: `meta`, `data`."""
        key = keys.live(request["partition"], request["file"])
        item = self._store.get(key, revision=int(request["revision"]))
        if item is None:
            raise KeyfoldError(
                "not_found",
                f"there was no object {request['file']} in {request['partition']} at revision {request['revision']}",
                not_done="nothing was read",
                next_step="keyfold object list",
            )
        content = self._registry.sealer(request["partition"]).open(key, item.value)
        return {"meta": content.meta, "data": base64.b64encode(content.data).decode()}

    def _local_files(self, caller: Caller, request: Request) -> Reply:
        return {"files": self._registry.replica(request["partition"]).files()}

    def _local_digests(self, caller: Caller, request: Request) -> Reply:
        return {"digests": self._registry.replica(request["partition"]).digests(request.get("files"))}

    def _opened(self, name: str, prefix: str) -> Iterator[tuple[KeyValue, StoredObject]]:
        sealer = self._registry.sealer(name)
        for item in self._store.scan(prefix):
            yield item, sealer.open(item.key, item.value)

    def _audit_entries(self, caller: Caller, request: Request) -> Iterator[Reply]:
        return self._service.audit.entries(int(request.get("since", 0)))

    # --- records ----------------------------------------------------------------------------------------------

    def _record_put(self, caller: Caller, request: Request) -> Reply:
        value = compact(request["value"])
        put = Put(keys.records(request["kind"], request["id"]), value)
        record = note(
            self._service.clock,
            self._service.config.node,
            what="record",
            who=str(caller),
            kind=request["kind"],
            id=request["id"],
        )
        return {"revision": self._store.txn((), [put, record]).revision}

    def _record_list(self, caller: Caller, request: Request) -> Reply:
        return {"records": self._records(request["kind"])}

    def _records(self, kind: str) -> dict[str, Any]:
        prefix = keys.records(kind)
        return {item.key.removeprefix(prefix): json.loads(item.value) for item in self._store.scan(prefix)}


def _expiry(content: StoredObject, days: int) -> dict[str, Any]:
    """When an invalidated object expires; nothing for a live one."""
    invalidated_at = content.meta.get("invalidated_at")
    return {} if invalidated_at is None else {"expires_at": expires_at(invalidated_at, days)}


def administrator_only(operation: Operation) -> Operation:
    """The operation for uid 0 alone; a request that lacks what it needs is `invalid`."""

    def guarded(caller: Caller, request: Request) -> Any:
        if caller.partition is not None:
            raise KeyfoldError(
                "denied",
                "this operation is the administrator's",
                not_done="nothing was read or changed",
                next_step="run the command as root",
            )
        try:
            return operation(caller, request)
        except (KeyError, ValueError, TypeError) as error:
            raise KeyfoldError(
                "invalid",
                f"the request cannot be used: {type(error).__name__}",
                not_done="nothing was changed",
                next_step="see docs/interfaces.md §3",
            ) from None

    return guarded
