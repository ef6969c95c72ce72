"""What a partition's declaration writes: row, audit notes, a new one's token; and which go into one transaction."""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.agent.service import Service
from keyfold.agent.tokens import Token
from keyfold.approval.gate import Granted
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.partition.opt_out import opting
from keyfold.partition.plan import Change
from keyfold.replication import keys
from keyfold.replication.token_files import live_puts
from keyfold.replication.usage import count
from keyfold.store.interface import MAX_TXN_OPS, KeyValue, Op, Put, Store, Unchanged


@dataclass(frozen=True, slots=True)
class Declaration:
    """What a partition's declaration writes, and the revision of its row that this replaces (0: there is none).

    `approval`: what has to hold besides, where officers approved it.
    """

    name: str
    expected: int
    ops: tuple[Op, ...]
    approval: tuple[Unchanged, ...] = ()


class Declarations:
    """Out of planned changes; nothing here is written yet."""

    def __init__(self, service: Service) -> None:
        self._service = service

    def created(self, change: Change, token: Token, sealed: Put, who: str) -> Declaration:
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
        puts += live_puts(change.name, token.files, self._service.registry.sealer(change.name), now)
        puts.append(Put(keys.usage(change.name), count(map(len, token.files.values()), ()).encode()))
        return Declaration(change.name, 0, tuple(puts))

    def updated(
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

    def _declared(self, change: Change, row: dict[str, Any], who: str, granted: Granted | None = None) -> list[Put]:
        """The row, with who opted out of key invalidation and when, and the audit notes about both."""
        clock, node = self._service.clock, self._service.config.node
        row, opted = opting(change.before, row, who, stamp(clock.utc()))
        way = change.direction
        puts = [
            Put(keys.partition(change.name), compact(row)),
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


def commit(store: Store, declarations: Sequence[Declaration]) -> int:
    """All of one transaction's; the revision. KeyfoldError `conflict` names what somebody else changed meanwhile."""
    compares = [Unchanged(keys.partition(one.name), one.expected) for one in declarations]
    compares += [compare for one in declarations for compare in one.approval]
    result = store.txn(compares, [Put(keys.HEAD, b""), *(op for one in declarations for op in one.ops)])
    if result.succeeded:
        return result.revision
    moved = [one.name for one in declarations if one.expected != _revision(result.current[keys.partition(one.name)])]
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
