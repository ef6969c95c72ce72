"""Bring objects of a backup back into etcd; every node follows from there. `merge`: only what is not live."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keyfold.agent.partitions import Partitions
from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import check_name
from keyfold.replication import keys
from keyfold.replication.publish import CHANGES_PER_TRANSACTION
from keyfold.replication.sealed import StoredObject
from keyfold.store.interface import Delete, Op, Put, Unchanged
from keyfold.token.object_file import TornFile, parse


class Restoring:
    def __init__(self, service: Service, partitions: Partitions) -> None:
        self._service = service
        self._store = service.store
        self._partitions = partitions

    def restore(
        self, name: str, objects: Mapping[str, StoredObject], ticket: str, row: Mapping[str, Any] | None
    ) -> dict[str, Any]:
        """`{"revision", "added", "reactivated"}`. `row`: the partition itself is gone and comes back with its objects.

        Objects that are live with the same content are passed over, so an interrupted restore can be run again;
        one that is live with other content is KeyfoldError `conflict`, and nothing of its transaction is written.
        """
        for file, content in objects.items():
            _check(file, content)
        if row is None:
            self._partitions.row(check_name(name))
        sealer = self._service.registry.sealer(check_name(name))
        shadows = {
            item.key.removeprefix(keys.invalidated(name)): item.mod_revision
            for item in self._store.scan(keys.invalidated(name), keys_only=True)
        }
        live = {
            item.key.removeprefix(keys.objects(name)): sealer.open(item.key, item.value).data
            for item in self._store.scan(keys.objects(name))
            if item.key.removeprefix(keys.objects(name)) in objects
        }
        missing = []
        for file, content in sorted(objects.items()):
            if file not in live:
                missing.append(file)
            elif live[file] != content.data:
                raise _differs(name, file)
        revision = self._service.applied_revision
        first = row
        for start in range(0, max(len(missing), 1), CHANGES_PER_TRANSACTION):
            part = missing[start : start + CHANGES_PER_TRANSACTION]
            if not part and first is None:
                break
            revision = self._transaction(name, {file: objects[file] for file in part}, shadows, ticket, first)
            first = None
        reactivated = sum(1 for file in missing if file in shadows)
        return {"revision": revision, "added": len(missing) - reactivated, "reactivated": reactivated}

    def _transaction(
        self,
        name: str,
        objects: Mapping[str, StoredObject],
        shadows: Mapping[str, int],
        ticket: str,
        row: Mapping[str, Any] | None,
    ) -> int:
        sealer = self._service.registry.sealer(name)
        compares, ops = list[Unchanged](), list[Op]()
        for file, content in objects.items():
            key, shadow = keys.live(name, file), keys.invalidated(name, file)
            compares += [Unchanged(key, 0), Unchanged(shadow, shadows.get(file, 0))]
            ops += [Put(key, sealer.seal(key, content)), Delete(shadow)]
        record = note(
            self._service.clock,
            self._service.config.node,
            what="restore",
            who="administrator",
            partition=name,
            ticket=ticket,
            files=list(objects),
        )
        ops += [Put(keys.HEAD, b""), record]
        if row is not None:
            compares.append(Unchanged(keys.partition(name), 0))
            ops.append(Put(keys.partition(name), json.dumps(row, separators=(",", ":")).encode()))
        result = self._store.txn(compares, ops)
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"partition {name} changed while it was being restored",
                not_done="the remaining objects were not restored",
                next_step="run the restore again: it goes on where it stopped",
            )
        return result.revision


def _check(file: str, content: StoredObject) -> None:
    """Nothing reaches a token directory that is not an object file by name and content."""
    try:
        parse(content.data)
    except TornFile as error:
        raise _refused(file, str(error)) from error
    if not file.endswith(".object") or "/" in file or file.startswith("."):
        raise _refused(file, "not the name of an object file")


def _refused(file: str, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the object {file!r} of the backup cannot be restored: {reason}",
        not_done="nothing was written",
        next_step="keyfold backup verify; then try an older set",
    )


def _differs(name: str, file: str) -> KeyfoldError:
    return KeyfoldError(
        "conflict",
        f"partition {name}: {file} is live with other content than the backup's",
        not_done="nothing was written: mode merge never changes a live object",
        next_step="keyfold restore preview shows it as 'changed'; leave it out of the selection",
    )
