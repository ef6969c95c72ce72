"""Partitions as declared in etcd: list them, plan a declaration, carry it out."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from keyfold.agent.handover import Handover
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
from keyfold.store.interface import MAX_TXN_OPS, KeyValue, Op, Put, Unchanged
from keyfold.token.object_file import describe


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a partition's declaration writes, and the revision of its row that this replaces (0: there is none).

    `approval`: what has to hold besides, where officers approved it.
    """

    name: str
    expected: int
    ops: tuple[Op, ...]
    approval: tuple[Unchanged, ...] = ()


class Partitions:
    def __init__(
        self, service: Service, verifier: SignatureVerifier | None = None, handover: Handover | None = None
    ) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry
        self._handover = handover or Handover(service.store)
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
        fresh = [change.name for change in changes if change.action == "create"]
        after = {change.name: change.after for change in changes}
        prepared = self._handover.prepare({name: after[name]["subscriber_key"] for name in fresh})
        made = make_tokens({name: prepared[name].pins for name in fresh}, self._service.config.state)
        declarations = [
            self._created(change, made[change.name], prepared[change.name].record, who)
            if change.action == "create"
            else self._updated(change, current[change.name], items[change.name].mod_revision, who, granted)
            for change in changes
            if change.action != "none"
        ]
        for part in transactions(declarations):
            revision = self._commit(part)
        return {"changes": [change.as_reply() for change in changes], "revision": revision}

    def handover(self, names: Sequence[str]) -> dict[str, Any]:
        """The first PINs of partitions, as they were sealed when those were made."""
        return {"handover": self._handover.sealed(names)}

    def _declared(self, change: Change, row: dict[str, Any], who: str, granted: Granted | None = None) -> list[Put]:
        """The row, with who opted out of key invalidation and when, and the audit notes about both."""
        clock, node = self._service.clock, self._service.config.node
        row, opted = opting(change.before, row, who, stamp(clock.utc()))
        way = change.direction
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

    def _created(self, change: Change, token: Token, sealed: Put, who: str) -> Declaration:
        """The token was made in a scratch directory; it becomes real when etcd has it, here as on every other node."""
        now = stamp(self._service.clock.utc())
        row = {
            "name": change.name,
            "uuid": str(uuid.uuid4()),
            "token_uuid": token.uuid,
            **change.after,
            "created": now,
        }
        puts = [*self._declared(change, row, who), sealed]
        metas = metadata({file: describe(data) for file, data in token.files.items()}, (), {}, now)
        sealer = self._registry.sealer(change.name)
        for file, data in token.files.items():
            key = keys.live(change.name, file)
            puts.append(Put(key, sealer.seal(key, StoredObject(metas[file], data))))
        puts.append(Put(keys.usage(change.name), count(map(len, token.files.values()), ()).encode()))
        return Declaration(change.name, 0, tuple(puts))

    def _updated(
        self,
        change: Change,
        current: Mapping[str, Any],
        expected: int,
        who: str,
        granted: Mapping[str, Granted],
    ) -> Declaration:
        approval = granted.get(change.name)
        ops = self._declared(change, {**current, **change.after}, who, approval)
        if approval is None:
            return Declaration(change.name, expected, tuple(ops))
        return Declaration(change.name, expected, (*ops, *approval.finished), tuple(approval.compares))

    def _commit(self, declarations: Sequence[Declaration]) -> int:
        compares = [Unchanged(keys.partition(one.name), one.expected) for one in declarations]
        compares += [compare for one in declarations for compare in one.approval]
        result = self._store.txn(compares, [Put(keys.HEAD, b""), *(op for one in declarations for op in one.ops)])
        if result.succeeded:
            return result.revision
        moved = [
            one.name for one in declarations if one.expected != _revision(result.current[keys.partition(one.name)])
        ]
        raise KeyfoldError(
            "conflict",
            f"changed by somebody else at the same moment: {', '.join(moved)}"
            if moved
            else f"the approval for {declarations[0].name} was used, or the officers are others now",
            not_done=f"the {len(declarations)} declarations from {declarations[0].name} on, and those after, were not "
            "applied; those before were",
            next_step="run the playbook again",
        )


def transactions(declarations: Sequence[Declaration]) -> Iterator[list[Declaration]]:
    """As many partitions at a time as etcd takes; one with an approval alone, for it fails for reasons of its own."""
    part: list[Declaration] = []
    for one in declarations:
        room = MAX_TXN_OPS - 1 - sum(len(other.ops) for other in part)
        if part and (one.approval or part[-1].approval or len(one.ops) > room):
            yield part
            part = []
        part.append(one)
    if part:
        yield part


def _revision(item: KeyValue | None) -> int:
    return 0 if item is None else item.mod_revision
