"""What a partition's own processes may ask of the agent about it, and choose for it (docs/interfaces.md §3).

The partition is the caller's, by uid; a request cannot name one. Nothing here needs a PIN, so nothing shows a value.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Any

from keyfold.agent.handover import RECORD_KIND as HANDOVER
from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.backup.manifest import DAILY
from keyfold.backup.sets import RECORD_KIND as BACKUP_SET
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.expiry.plan import RETENTION
from keyfold.json_bytes import compact
from keyfold.partition.choice import FIELD, chosen, keeps_destroyed
from keyfold.replication import keys
from keyfold.replication.usage import decode
from keyfold.store.interface import Put, Unchanged

Request = Mapping[str, Any]


class SubscriberOperations:
    def __init__(self, service: Service, partitions: Partitions) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry
        self._partitions = partitions

    def table(self) -> dict[str, Operation]:
        return {
            "subscriber_policy": _own(self._policy),
            "subscriber_quota": _own(self._quota),
            "subscriber_objects": _own(self._objects),
            "subscriber_restore_points": _own(self._restore_points),
            "subscriber_handover": _own(self._handover),
            "subscriber_invalidation": _own(self._invalidation),
            "subscriber_note": _own(self._note),
        }

    def _policy(self, name: str, request: Request) -> Reply:
        row = self._partitions.row(name)
        return {
            "partition": name,
            "package": row["package"],
            "backup": row["backup"],
            "policy": row["policy"],
            "keeps_destroyed": keeps_destroyed(row),
            "choice": row.get(FIELD),
        }

    def _quota(self, name: str, request: Request) -> Reply:
        quota = self._partitions.row(name)["policy"]["max_size_bytes"]
        used = decode(self._store.get(keys.usage(name)))
        return {
            "partition": name,
            "max_size_bytes": quota,
            # The token object counts in bytes; it is no object of the subscriber's.
            "objects": max(used.objects - 1, 0),
            "live_bytes": used.live_bytes,
            "invalidated": used.invalidated,
            "invalidated_bytes": used.invalidated_bytes,
            "free_bytes": max(quota - used.total_bytes, 0),
        }

    def _objects(self, name: str, request: Request) -> Reply:
        prefix = keys.invalidated(name) if request.get("invalidated") is True else keys.objects(name)
        sealer = self._registry.sealer(name)
        rows = []
        for item in self._store.scan(prefix):
            content = sealer.open(item.key, item.value)
            # The token object is no object of the subscriber's.
            if content.meta.get("class") is not None:
                rows.append({"file": item.key.removeprefix(prefix), **content.meta, "size": len(content.data)})
        return {"partition": name, "objects": rows}

    def _restore_points(self, name: str, request: Request) -> Reply:
        """Backup sets that hold this partition and are not older than sets are kept, newest first."""
        prefix = keys.records(BACKUP_SET)
        # Records of sets are kept for ever. What is stamped sorts as it follows in time.
        oldest = stamp(self._service.clock.utc() - RETENTION[DAILY])
        records = [json.loads(item.value) for item in self._store.scan(prefix)]
        points = [
            {key: record[key] for key in ("set_id", "created", "verified")}
            for record in records
            if name in record["partitions"] and record["created"] >= oldest
        ]
        return {"partition": name, "restore_points": sorted(points, key=_created, reverse=True)}

    def _handover(self, name: str, request: Request) -> Reply:
        """The first user PIN, sealed to the subscriber. The SO PIN is the officers'."""
        item = self._store.get(keys.records(HANDOVER, name))
        record = {} if item is None else json.loads(item.value)
        if "user" not in record:
            raise KeyfoldError(
                "not_found",
                f"no PIN was sealed for partition {name}",
                not_done="nothing was read",
                next_step="ask the operator who made the partition",
            )
        return {"partition": name, "user": record["user"], "sealed_to": record["user_sealed_to"]}

    def _invalidation(self, name: str, request: Request) -> Reply:
        """Opt out of keeping destroyed objects, or in again. Those kept so far stay until they expire."""
        keep = request.get("keep")
        if not isinstance(keep, bool):
            raise _invalid("'keep' is neither true nor false")
        key = keys.partition(name)
        item = self._store.get(key)
        if item is None:
            self._partitions.missing(name)
        by = f"subscriber of {name}"
        row = chosen(json.loads(item.value), key_invalidation=keep, at=stamp(self._service.clock.utc()), by=by)
        if row is None:
            return {"partition": name, "changed": False, "keeps_destroyed": keep}
        record = self._noted(name, what="invalidation opt-in" if keep else "invalidation opt-out")
        declare = Put(key, compact(row))
        result = self._store.txn([Unchanged(key, item.mod_revision)], [declare, Put(keys.HEAD, b""), record])
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"the partition {name} was changed by somebody else at the same moment",
                not_done="the choice was not recorded",
                next_step="run the command again",
            )
        return {"partition": name, "changed": True, "keeps_destroyed": keep, "revision": result.revision}

    def _note(self, name: str, request: Request) -> Reply:
        """An export or import, recorded before it is carried out: what cannot be recorded does not happen."""
        what, objects = request.get("what"), request.get("objects")
        if what not in ("export", "import") or type(objects) is not int or objects < 0:
            raise _invalid("a note is {what: export or import, objects: a number}")
        result = self._store.txn((), [self._noted(name, what=what, objects=objects)])
        return {"revision": result.revision}

    def _noted(self, name: str, *, what: str, **detail: Any) -> Put:
        who = f"subscriber of {name}"
        return note(self._service.clock, self._service.config.node, what=what, who=who, partition=name, **detail)


def _created(point: Mapping[str, Any]) -> str:
    return str(point["created"])


def _own(operation: Callable[[str, Request], Reply]) -> Operation:
    def guarded(caller: Caller, request: Request) -> Reply:
        if caller.partition is None:
            raise KeyfoldError(
                "denied",
                "this operation is for a partition's own processes",
                not_done="nothing was read or changed",
                next_step="as administrator use: keyfold partition list, keyfold object list",
            )
        return operation(caller.partition, request)

    return guarded


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="nothing was changed", next_step="see docs/interfaces.md §3")
