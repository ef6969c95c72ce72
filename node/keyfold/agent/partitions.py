"""Partitions as declared in etcd: list them, plan a declaration, carry it out."""

from __future__ import annotations

import json
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NoReturn

from keyfold.agent.service import Service
from keyfold.agent.tokens import Token, make_tokens
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.partition.plan import Change, plan
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.changes import metadata
from keyfold.replication.sealed import StoredObject
from keyfold.store.interface import KeyValue, Put, Unchanged
from keyfold.token.object_file import describe

# A row, a token and an audit entry each, and the head, stay below etcd's limit of 128 operations.
PARTITIONS_PER_TRANSACTION = 32


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a partition's declaration writes, and the revision of its row that this replaces (0: there is none)."""

    name: str
    expected: int
    puts: tuple[Put, ...]


class Partitions:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry

    def rows(self, revision: int = 0) -> list[dict[str, Any]]:
        """Subscribers' partitions with their figures; bytes are those of the object files."""
        scan = self._store.scan(keys.PARTITIONS, revision=revision)
        declared = [json.loads(item.value) for item in scan]
        live = self._figures(keys.OBJECTS, scan.revision)
        shadow = self._figures(keys.INVALIDATED, scan.revision)
        return [
            {
                **row,
                "objects": live[0][row["name"]],
                "live_bytes": live[1][row["name"]],
                "invalidated": shadow[0][row["name"]],
                "invalidated_bytes": shadow[1][row["name"]],
            }
            for row in declared
            if row["name"] != SYSTEM
        ]

    def row(self, name: str) -> dict[str, Any]:
        """The declaration in etcd, or KeyfoldError `not_found`."""
        item = self._store.get(keys.partition(name))
        if item is None:
            self.missing(name)
        row: dict[str, Any] = json.loads(item.value)
        return row

    def missing(self, name: str) -> NoReturn:
        known = ", ".join(sorted(self._registry.rows)) or "none"
        raise KeyfoldError(
            "not_found",
            f"there is no partition {name!r} (there are: {known})",
            not_done="nothing was read or changed",
            next_step="keyfold partition list; declare it in the inventory and run playbooks/partition.yml",
        )

    def apply(self, declared: Sequence[Mapping[str, Any]], *, check: bool) -> dict[str, Any]:
        """Plan, then execute; `check` stops in between. A transaction holds some dozens of partitions, each whole."""
        self._registry.sealer(SYSTEM)
        items = {item.key.removeprefix(keys.PARTITIONS): item for item in self._store.scan(keys.PARTITIONS)}
        current = {name: json.loads(item.value) for name, item in items.items()}
        changes = plan(declared, current, self._service.config.packages)
        revision = 0
        if not check:
            made = make_tokens([change for change in changes if change.action == "create"], self._service.config.state)
            declarations = [
                self._created(change, made[change.name])
                if change.action == "create"
                else self._updated(change, current[change.name], items[change.name].mod_revision)
                for change in changes
                if change.action != "none"
            ]
            for start in range(0, len(declarations), PARTITIONS_PER_TRANSACTION):
                revision = self._commit(declarations[start : start + PARTITIONS_PER_TRANSACTION])
        return {"changes": [change.as_reply() for change in changes], "revision": revision}

    def _created(self, change: Change, token: Token) -> Declaration:
        """The token was made in a scratch directory; it becomes real when etcd has it, here as on every other node."""
        now = stamp(self._service.clock.utc())
        row = {
            "name": change.name,
            "uuid": str(uuid.uuid4()),
            "token_uuid": token.uuid,
            **change.after,
            "created": now,
        }
        metas = metadata({file: describe(data) for file, data in token.files.items()}, (), {}, now)
        sealer = self._registry.sealer(change.name)
        puts = [Put(keys.partition(change.name), _packed(row))]
        for file, data in token.files.items():
            key = keys.live(change.name, file)
            puts.append(Put(key, sealer.seal(key, StoredObject(metas[file], data))))
        return Declaration(change.name, 0, tuple(puts))

    def _updated(self, change: Change, current: Mapping[str, Any], expected: int) -> Declaration:
        row = {**current, **change.after}
        return Declaration(change.name, expected, (Put(keys.partition(change.name), _packed(row)),))

    def _commit(self, declarations: Sequence[Declaration]) -> int:
        compares = [Unchanged(keys.partition(one.name), one.expected) for one in declarations]
        puts = [put for one in declarations for put in one.puts]
        result = self._store.txn(compares, [Put(keys.HEAD, b""), *puts])
        if result.succeeded:
            return result.revision
        moved = [
            one.name for one in declarations if one.expected != _revision(result.current[keys.partition(one.name)])
        ]
        raise KeyfoldError(
            "conflict",
            f"changed by somebody else at the same moment: {', '.join(moved)}",
            not_done=f"the {len(declarations)} declarations from {declarations[0].name} on, and those after, were not "
            "applied; those before were",
            next_step="run the playbook again",
        )

    def _figures(self, prefix: str, revision: int) -> tuple[Counter[str], Counter[str]]:
        """Objects and bytes by partition."""
        count: Counter[str] = Counter()
        size: Counter[str] = Counter()
        for item in self._store.scan(prefix, revision=revision):
            name = item.key.removeprefix(prefix).partition("/")[0]
            if name != SYSTEM:
                count[name] += 1
                size[name] += len(self._registry.sealer(name).open(item.key, item.value).data)
        return count, size


def _packed(row: Mapping[str, Any]) -> bytes:
    return json.dumps(row, separators=(",", ":")).encode()


def _revision(item: KeyValue | None) -> int:
    return 0 if item is None else item.mod_revision
