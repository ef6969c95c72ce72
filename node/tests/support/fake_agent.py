"""The agent as backup and restore see it (docs/interfaces.md §3), over dictionaries, without files or etcd."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from support.memory_cluster import object_file

from keyfold.agent.handover import seal_with_age
from keyfold.approval.gate import decode
from keyfold.approval.request import parse
from keyfold.backup.recipient import encode_recipient
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical
from keyfold.restore.order import order_of
from keyfold.token.object_file import identity

Meta = dict[str, Any]


@dataclass
class Stored:
    meta: Meta
    data: bytes
    revision: int


@dataclass
class FakePartition:
    row: dict[str, Any]
    live: dict[str, Stored] = field(default_factory=dict)
    invalidated: dict[str, Stored] = field(default_factory=dict)


class FakeAgent:
    """`writes` counts restores and records; `before` may do something at the start of an operation."""

    def __init__(self, root: bytes, cluster_uuid: str) -> None:
        self.cluster_uuid = cluster_uuid
        self.keys = MemorySystemKeys(root, cluster_uuid)
        self.partitions: dict[str, FakePartition] = {}
        self.records: dict[str, dict[str, dict[str, Any]]] = {"backup_set": {}, "restore": {}}
        self.local: dict[str, dict[str, str]] = {}
        self.revision = 100
        self.restored: list[str] = []
        self.batches: list[int] = []
        self.before: dict[str, Callable[[], object]] = {}
        self.cut_snapshot_after: int | None = None
        self.knows_files = False
        self.jobs: dict[str, dict[str, Any]] = {}
        self.custody: dict[str, Any] | None = None

    # --- what a test arranges ---------------------------------------------------------------------------------

    def add_partition(self, name: str, package: str = "ECO", *, backup: bool = True) -> FakePartition:
        row = {
            "name": name,
            "uuid": f"00000000-0000-4000-8000-{abs(hash(name)) % 10**12:012d}",
            "token_uuid": f"token-of-{name}",
            "package": package,
            "policy": {"key_invalidation": True},
            "backup": backup,
            "created": "2026-11-23T00:00:00.000000Z",
        }
        self.partitions[name] = partition = FakePartition(row)
        self.put(name, "token.object", object_file(b"PIN of " + name.encode(), object_class=0), {"class": None})
        return partition

    def put(self, name: str, file: str, data: bytes, meta: Meta) -> None:
        self.revision += 1
        full = {"class": 4, "key_type": None, "label": None, "id": None, "created": "2026-11-23T00:00:00Z", **meta}
        self.partitions[name].live[file] = Stored(full, data, self.revision)

    def add_key(self, name: str, number: int, label: str, object_class: int, *, key_id: str = "01") -> str:
        """One key object; returns its file."""
        file = f"{number:08x}-0000-4000-8000-{object_class:012x}.object"
        data = object_file(f"{label} {number}".encode(), object_class=object_class)
        meta = {"class": object_class, "key_type": 3, "label": label.encode().hex(), "id": key_id}
        self.put(name, file, data, meta)
        return file

    def destroy(self, name: str, file: str) -> None:
        """As through the API: it becomes invalidated."""
        self.revision += 1
        partition = self.partitions[name]
        partition.invalidated[file] = partition.live.pop(file)

    # --- the agent --------------------------------------------------------------------------------------------

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        return next(self.stream(op, **params))

    def stream(self, op: str, **params: Any) -> Iterator[dict[str, Any]]:
        self.before.pop(op, lambda: None)()
        reply = getattr(self, f"_{op}")(**params)
        return reply if isinstance(reply, Iterator) else iter([{"ok": True, **reply}])

    def _cluster_info(self) -> dict[str, Any]:
        return {
            "cluster": {
                "uuid": self.cluster_uuid,
                "name": "test",
                "backup_recipient": encode_recipient(self.keys.backup_public_key()),
                "backup_key_fingerprint": "SHA256:backup",
                "signing_public_key": self.keys.signing_public_key().hex(),
                "signing_key_fingerprint": "SHA256:signing",
                "epoch": 1,
                "custody": self.custody,
                "created": "2026-11-23T00:00:00.000000Z",
            }
        }

    def _partition_list(self) -> dict[str, Any]:
        return {
            "partitions": [
                {
                    **partition.row,
                    "objects": len(partition.live),
                    "live_bytes": sum(len(one.data) for one in partition.live.values()),
                    "invalidated": len(partition.invalidated),
                    "invalidated_bytes": 0,
                }
                for _, partition in sorted(self.partitions.items())
            ]
        }

    def _snapshot(self, partitions: list[str]) -> Iterator[dict[str, Any]]:
        rows = [row for row in self._partition_list()["partitions"] if row["name"] in partitions]
        yield {"ok": True, "revision": self.revision, "partitions": rows}
        count = 0
        for name in sorted(partitions):
            for file, stored in sorted(self.partitions[name].live.items()):
                if count == self.cut_snapshot_after:
                    return
                count += 1
                # Else as on a node that does not know it: contents are asked for.
                known = [canonical(stored.meta).decode(), identity(stored.data)] if self.knows_files else ["", None]
                yield {"ok": True, "partition": name, "objects": [[file, *known]]}
        if count != self.cut_snapshot_after:
            yield {"ok": True, "end": True, "objects": count}

    def _cluster_entries(self, revision: int) -> Iterator[dict[str, Any]]:
        """The partitions' rows and the cluster's."""
        rows = {f"/keyfold/v1/partitions/{name}": partition.row for name, partition in self.partitions.items()}
        rows["/keyfold/v1/cluster"] = self._cluster_info()["cluster"]
        for key, row in sorted(rows.items()):
            yield {"ok": True, "key": key, "value": base64.b64encode(json.dumps(row).encode()).decode()}
        yield {"ok": True, "end": True, "entries": len(rows)}

    def _object_at(self, partition: str, file: str, revision: int) -> dict[str, Any]:
        stored = self.partitions[partition].live[file]
        return {"meta": stored.meta, "data": base64.b64encode(stored.data).decode()}

    def _local_files(self, partition: str) -> dict[str, Any]:
        return {"files": sorted(self._local_digests(partition)["digests"])}

    def _local_digests(self, partition: str, files: list[str] | None = None) -> dict[str, Any]:
        live = {file: identity(stored.data) for file, stored in self.partitions[partition].live.items()}
        found = self.local.get(partition, live)
        return {"digests": {file: digest for file, digest in found.items() if files is None or file in files}}

    def _object_list(self, partition: str, invalidated: bool = False, files: list[str] | None = None) -> dict[str, Any]:
        if partition not in self.partitions:
            raise KeyfoldError("not_found", f"there is no partition {partition}", not_done="-", next_step="-")
        found = self.partitions[partition]
        return {
            "objects": [
                {
                    "file": file,
                    **stored.meta,
                    "size": len(stored.data),
                    "revision": stored.revision,
                    "digest": identity(stored.data),
                }
                for file, stored in (found.invalidated if invalidated else found.live).items()
                if files is None or file in files
            ],
            **({"purged": []} if invalidated else {}),
        }

    def _status(self) -> dict[str, Any]:
        nodes = {"hsm1": "up", "hsm2": "down", "hsm3": "up"}
        rows = [{**row, "policy": {"max_size_bytes": 0}, "locked": {}} for row in self._partition_list()["partitions"]]
        return {
            "cluster": None,
            "etcd": [],
            "partitions": rows,
            "audit": {"pending": 0, "oldest_pending_seconds": None},
            "revision": self.revision,
            "nodes": [
                {"name": name, "agent": state, "lag": 0, "applied_revision": self.revision if state == "up" else 0}
                for name, state in nodes.items()
            ],
        }

    # Approvals are the real agent's matter (test_restoring): here everything is approved.

    def _restore_begin(
        self, approval: dict[str, Any], check: bool = False, begun: dict[str, Any] | None = None, **_more: Any
    ) -> dict[str, Any]:
        request = parse(decode(approval)[0])
        if not check:
            described = {"request_id": request.id, "officers": ["ada", "grace"], "started": "begun", "finished": None}
            asked = {"ticket": request.ticket, "reason": request.reason, "requested_by": request.requested_by}
            order = order_of(request)
            self.records["restore"][request.id] = {
                **described,
                **asked,
                **order.fields(),
                "chargeable": order.chargeable,
                **(begun or {}),
            }
        return {"record": self.records["restore"].get(request.id), "officers": ["ada", "grace"]}

    def _restore_apply(
        self,
        approval: dict[str, Any],
        partition: str,
        objects: list[dict[str, Any]],
        partition_row: dict[str, Any] | None = None,
    ) -> dict[str, Any]:
        assert parse(decode(approval)[0]).id in self.records["restore"]
        if partition_row is not None:
            assert partition not in self.partitions
            assert objects[0]["file"] == "token.object"
            self.partitions[partition] = FakePartition(partition_row)
        found = self.partitions[partition]
        self.batches.append(len(objects))
        for sent in objects:
            file, there = sent["file"], found.live.get(sent["file"])
            assert sent.get("live") == (None if there is None else [there.revision, len(there.data)])
            if "data" not in sent:
                self.destroy(partition, file)
                continue
            self.put(partition, file, base64.b64decode(sent["data"]), sent["meta"])
            found.invalidated.pop(file, None)
            self.restored.append(file)
        return {"revision": self.revision}

    def _restore_finish(self, approval: dict[str, Any], result: dict[str, Any]) -> dict[str, Any]:
        request_id = parse(decode(approval)[0]).id
        self.records["restore"][request_id] |= {**result, "finished": "done"}
        return {"record": self.records["restore"][request_id]}

    def _record_put(self, kind: str, id: str, value: dict[str, Any]) -> dict[str, Any]:  # noqa: A002 - its name there
        self.records.setdefault(kind, {})[id] = value
        return {"revision": self.revision}

    def _record_list(self, kind: str) -> dict[str, Any]:
        return {"records": dict(self.records.get(kind, {}))}

    def _job_begin(self, job: str, id: str) -> dict[str, Any]:  # noqa: A002 - its name there
        if job in self.jobs:
            raise KeyfoldError("conflict", f"a {job} is under way on hsm4", not_done="-", next_step="-")
        self.jobs[job] = {"id": id, "lease": len(id)}
        return {"lease": len(id)}

    def _job_renew(self, job: str, id: str, lease: int) -> dict[str, Any]:  # noqa: A002 - its name there
        return {"held": self.jobs.get(job) == {"id": id, "lease": lease}}

    def _job_end(self, job: str, id: str, lease: int) -> dict[str, Any]:  # noqa: A002 - its name there
        if self.jobs.get(job) == {"id": id, "lease": lease}:
            del self.jobs[job]
        return {}

    def _partition_apply(
        self, partitions: list[dict[str, Any]], approvals: list[dict[str, Any]], check: bool
    ) -> dict[str, Any]:
        for declared in partitions:
            name = declared["name"]
            self.add_partition(name, declared["package"], backup=declared.get("backup", True))
            sealed = seal_with_age(f"secret-{name}", [declared["subscriber_key"]])
            self.records.setdefault("handover", {})[name] = {"user": sealed}
        return {"changes": [], "revision": self.revision}

    def _partition_handover(self, partitions: list[str]) -> dict[str, Any]:
        return {"handover": {name: self.records["handover"][name] for name in partitions}}
