"""Bring objects of a backup back into etcd; every node follows from there. `merge`: only what is not live."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from keyfold.agent.partitions import Partitions
from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import check_name
from keyfold.replication import keys
from keyfold.replication.changes import portions
from keyfold.replication.publish import BYTES_PER_TRANSACTION
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Ledger, Usage, dropped, live, total
from keyfold.store.interface import Delete, KeyValue, Op, Put, Unchanged
from keyfold.token.object_file import TornFile, parse

# Three operations per object, and those of the partition, stay below etcd's limit of 128.
_OBJECTS_PER_TRANSACTION = 40
_SECONDS = 10.0


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
        declared = row or self._partitions.row(check_name(name))
        sealer = self._service.registry.sealer(check_name(name))
        shadows = {
            item.key.removeprefix(keys.invalidated(name)): (item, len(sealer.open(item.key, item.value).data))
            for item in self._store.scan(keys.invalidated(name))
            if item.key.removeprefix(keys.invalidated(name)) in objects
        }
        purged = {
            item.key.removeprefix(keys.purged(name)) for item in self._store.scan(keys.purged(name), keys_only=True)
        }
        there = {
            item.key.removeprefix(keys.objects(name)): sealer.open(item.key, item.value).data
            for item in self._store.scan(keys.objects(name))
            if item.key.removeprefix(keys.objects(name)) in objects
        }
        missing = []
        for file, content in sorted(objects.items()):
            if file not in there:
                missing.append(file)
            elif there[file] != content.data:
                raise _differs(name, file)
        revision = self._service.applied_revision
        first = row
        wanted = {file: _Wanted(objects[file], shadows.get(file), file in purged) for file in missing}
        ledger = Ledger(self._store, name, lambda: int(declared["policy"]["max_size_bytes"]))
        ledger.check(total(one.difference for one in wanted.values()))
        for part in _portions(wanted) if wanted or first is None else [{}]:
            revision = self._transaction(name, part, ledger, ticket, first)
            first = None
        reactivated = sum(1 for file in missing if file in shadows)
        return {"revision": revision, "added": len(missing) - reactivated, "reactivated": reactivated}

    def _transaction(
        self,
        name: str,
        objects: Mapping[str, _Wanted],
        ledger: Ledger,
        ticket: str,
        row: Mapping[str, Any] | None,
    ) -> int:
        sealer = self._service.registry.sealer(name)
        compares, ops = list[Unchanged](), list[Op]()
        for file, one in objects.items():
            key, shadow = keys.live(name, file), keys.invalidated(name, file)
            compares += [Unchanged(key, 0), Unchanged(shadow, one.shadow[0].mod_revision if one.shadow else 0)]
            ops += [Put(key, sealer.seal(key, one.content)), Delete(shadow)]
            if one.purged:
                ops.append(Delete(keys.purged(name, file)))
        record = note(
            self._service.clock,
            self._service.config.node,
            what="restore",
            who="administrator",
            partition=name,
            ticket=ticket,
            files=list(objects),
        )
        ops.append(Put(keys.HEAD, b""))
        if row is not None:
            compares.append(Unchanged(keys.partition(name), 0))
            ops.append(Put(keys.partition(name), json.dumps(row, separators=(",", ":")).encode()))
        difference = total(one.difference for one in objects.values())
        result = ledger.transact(compares, ops, record, difference, timeout_seconds=_SECONDS)
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"partition {name} changed while it was being restored",
                not_done="the remaining objects were not restored",
                next_step="run the restore again: it goes on where it stopped",
            )
        return result.revision


@dataclass(frozen=True, slots=True)
class _Wanted:
    """An object that is not live. `shadow`: it is kept as invalidated, with its size; `purged`: it was, for good."""

    content: StoredObject
    shadow: tuple[KeyValue, int] | None
    purged: bool

    @property
    def difference(self) -> Usage:
        more = live(len(self.content.data))
        return more if self.shadow is None else more + dropped(self.shadow[1])


def _portions(wanted: Mapping[str, _Wanted]) -> Iterator[dict[str, _Wanted]]:
    """Runs that fit into one transaction each."""
    for part in portions(
        list(wanted.items()),
        lambda item: len(item[1].content.data),
        count=_OBJECTS_PER_TRANSACTION,
        size_bytes=BYTES_PER_TRANSACTION,
    ):
        yield dict(part)


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
