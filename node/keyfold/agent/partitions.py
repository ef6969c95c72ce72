"""Partitions as declared in etcd: list them, plan a declaration, carry it out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from keyfold.agent.service import Service
from keyfold.agent.tokens import Token, make_tokens
from keyfold.approval.gate import Approval, Gate, Granted, decode
from keyfold.approval.request import parse
from keyfold.approval.verify import SignatureVerifier
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.lockout import state as lockout
from keyfold.partition.opt_out import opting
from keyfold.partition.plan import Change, plan
from keyfold.partition.policy import SYSTEM
from keyfold.partition.weaker import KIND, subject
from keyfold.replication import keys
from keyfold.replication.changes import metadata
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Usage, count
from keyfold.replication.usage import decode as decode_usage
from keyfold.store.interface import KeyValue, Put, Unchanged
from keyfold.token.object_file import describe

# Row, token, usage and two audit notes each, and the head, stay below etcd's limit of 128 operations.
PARTITIONS_PER_TRANSACTION = 25


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a partition's declaration writes, and the revision of its row that this replaces (0: there is none)."""

    name: str
    expected: int
    puts: tuple[Put, ...]
    granted: Granted | None = None


class Partitions:
    def __init__(self, service: Service, verifier: SignatureVerifier | None = None) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry
        self._gate = Gate(service.store, service.clock, verifier)

    def rows(self, revision: int = 0) -> list[dict[str, Any]]:
        """Subscribers' partitions with their figures and locked logins; bytes are those of the object files."""
        scan = self._store.scan(keys.PARTITIONS, revision=revision)
        declared = [json.loads(item.value) for item in scan]
        figures = {
            item.key.removeprefix(keys.USAGE): decode_usage(item) for item in self._scan(keys.USAGE, scan.revision)
        }
        locked = lockout.locked(self._scan(keys.LOGINS, scan.revision), self._service.clock.utc())
        return [
            {
                **row,
                **asdict(figures.get(row["name"], Usage())),
                "locked": locked.get(row["name"], {}),
            }
            for row in declared
            if row["name"] != SYSTEM
        ]

    def _scan(self, prefix: str, revision: int) -> Iterable[KeyValue]:
        return self._store.scan(prefix, revision=revision)

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

    def apply(
        self,
        declared: Sequence[Mapping[str, Any]],
        *,
        check: bool,
        approvals: Sequence[Approval] = (),
        who: str = "administrator",
    ) -> dict[str, Any]:
        """Plan, then execute; `check` stops in between. A transaction holds some dozens of partitions, each whole.

        A policy that becomes weaker needs one of the `approvals`, of kind `policy`, for that partition, with the
        weakened keys. All of them are checked before anything is changed; check mode asks for none, but looks at those
        that are given.
        """
        self._registry.sealer(SYSTEM)
        items = {item.key.removeprefix(keys.PARTITIONS): item for item in self._store.scan(keys.PARTITIONS)}
        current = {name: json.loads(item.value) for name, item in items.items()}
        changes = plan(declared, current, self._service.config.packages)
        granted = self._approved(changes, approvals) if approvals or not check else {}
        if check:
            return {"changes": [change.as_reply() for change in changes], "revision": 0}
        revision = 0
        made = make_tokens([change for change in changes if change.action == "create"], self._service.config.state)
        declarations = [
            self._created(change, made[change.name], who)
            if change.action == "create"
            else self._updated(
                change, current[change.name], items[change.name].mod_revision, who, granted.get(change.name)
            )
            for change in changes
            if change.action != "none"
        ]
        for start in range(0, len(declarations), PARTITIONS_PER_TRANSACTION):
            revision = self._commit(declarations[start : start + PARTITIONS_PER_TRANSACTION])
        return {"changes": [change.as_reply() for change in changes], "revision": revision}

    def _declared(self, change: Change, row: dict[str, Any], who: str, granted: Granted | None = None) -> list[Put]:
        """The row, with who opted out of key invalidation and when, and the audit notes about both."""
        clock, node = self._service.clock, self._service.config.node
        way = change.direction
        row, opted = opting(change.before, row, who, stamp(clock.utc()))
        puts = [
            Put(keys.partition(change.name), json.dumps(row, separators=(",", ":")).encode()),
            note(
                clock,
                node,
                what="policy" if change.policy_differs else f"partition {change.action}",
                who=who,
                partition=change.name,
                before=change.before or None,
                after=change.after,
                weaker=sorted(way.weaker) or None,
                stronger=sorted(way.stronger) or None,
                approved_by=list(granted.officers) if granted else None,
                request=granted.request_id if granted else None,
            ),
        ]
        return [*puts, note(clock, node, what=opted, who=who, partition=change.name)] if opted else puts

    def _approved(self, changes: Sequence[Change], approvals: Sequence[Approval]) -> dict[str, Granted]:
        """By partition; KeyfoldError `unapproved` if one is missing, with nothing changed."""
        given = {parse(decode(approval)[0]).partition: approval for approval in approvals}
        return {
            change.name: self._gate.check(
                given.get(change.name),
                kind=KIND,
                partition=change.name,
                subject=subject(change.direction.weaker),
            )
            for change in changes
            if change.needs_approval
        }

    def _created(self, change: Change, token: Token, who: str) -> Declaration:
        """The token was made in a scratch directory; it becomes real when etcd has it, here as on every other node."""
        now = stamp(self._service.clock.utc())
        row = {
            "name": change.name,
            "uuid": str(uuid.uuid4()),
            "token_uuid": token.uuid,
            **change.after,
            "created": now,
        }
        puts = self._declared(change, row, who)
        metas = metadata({file: describe(data) for file, data in token.files.items()}, (), {}, now)
        sealer = self._registry.sealer(change.name)
        for file, data in token.files.items():
            key = keys.live(change.name, file)
            puts.append(Put(key, sealer.seal(key, StoredObject(metas[file], data))))
        puts.append(Put(keys.usage(change.name), count(map(len, token.files.values()), ()).encode()))
        return Declaration(change.name, 0, tuple(puts))

    def _updated(
        self, change: Change, current: Mapping[str, Any], expected: int, who: str, granted: Granted | None
    ) -> Declaration:
        puts = self._declared(change, {**current, **change.after}, who, granted)
        return Declaration(change.name, expected, tuple(puts), granted)

    def _commit(self, declarations: Sequence[Declaration]) -> int:
        grants = [one.granted for one in declarations if one.granted]
        compares = [
            *(Unchanged(keys.partition(one.name), one.expected) for one in declarations),
            # Several approvals compare one and the same set of officers.
            *dict.fromkeys(compare for granted in grants for compare in granted.compares),
        ]
        puts = [put for one in declarations for put in one.puts]
        used = [op for granted in grants for op in granted.finished]
        result = self._store.txn(compares, [Put(keys.HEAD, b""), *puts, *used])
        if result.succeeded:
            return result.revision
        moved = [
            one.name for one in declarations if one.expected != _revision(result.current[keys.partition(one.name)])
        ]
        raise KeyfoldError(
            "conflict",
            f"changed by somebody else at the same moment: {', '.join(moved)}"
            if moved
            else "an approval was used, or the officers are others now",
            not_done=f"the {len(declarations)} declarations from {declarations[0].name} on, and those after, were not "
            "applied; those before were",
            next_step="run the playbook again",
        )


def _revision(item: KeyValue | None) -> int:
    return 0 if item is None else item.mod_revision
