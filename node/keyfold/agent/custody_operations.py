"""The administrator's operations on the cluster's own keys, and on a cluster that is being rebuilt."""

from __future__ import annotations

import base64
from collections.abc import Iterator, Mapping
from typing import Any

from keyfold.agent.admin import administrator_only
from keyfold.agent.backup_keys import BackupKeys
from keyfold.agent.rebuilding import Rebuilding
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.replication.sealed import StoredObject

Request = Mapping[str, Any]


class CustodyOperations:
    def __init__(self, backup_keys: BackupKeys, rebuilding: Rebuilding) -> None:
        self._backup_keys = backup_keys
        self._rebuilding = rebuilding

    def table(self) -> dict[str, Operation]:
        operations: dict[str, Operation] = {
            "backup_key_rotate": self._rotate,
            "backup_key_retire": self._retire,
            "cluster_entries": self._entries,
            "rebuild_begin": self._begin,
            "rebuild_partition": self._partition,
            "rebuild_entries": self._put_entries,
            "rebuild_end": self._end,
        }
        return {name: administrator_only(operation) for name, operation in operations.items()}

    def _rotate(self, caller: Caller, request: Request) -> Reply:
        return self._backup_keys.rotate(bytes.fromhex(request["root"]), int(request["from_epoch"]))

    def _retire(self, caller: Caller, request: Request) -> Reply:
        return self._backup_keys.retire([int(epoch) for epoch in request["epochs"]])

    def _entries(self, caller: Caller, request: Request) -> Iterator[Reply]:
        count = 0
        for item in self._rebuilding.entries(int(request["revision"])):
            count += 1
            yield {"key": item.key, "value": base64.b64encode(item.value).decode()}
        yield {"end": True, "entries": count}

    def _begin(self, caller: Caller, request: Request) -> Reply:
        return self._rebuilding.begin(bytes.fromhex(request["root"]), request["set_id"], request["row"])

    def _partition(self, caller: Caller, request: Request) -> Reply:
        objects = {
            entry["file"]: StoredObject(entry["meta"], base64.b64decode(entry["data"], validate=True))
            for entry in request["objects"]
        }
        return self._rebuilding.partition(request["row"], objects)

    def _put_entries(self, caller: Caller, request: Request) -> Reply:
        entries = [(entry["key"], base64.b64decode(entry["value"], validate=True)) for entry in request["entries"]]
        return self._rebuilding.put_entries(entries)

    def _end(self, caller: Caller, request: Request) -> Reply:
        return self._rebuilding.end(request["row"])
