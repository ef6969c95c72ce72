"""Partitions as declared in etcd: list them, plan a declaration and carry it out, as far as officers approve it."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any, NoReturn

from keyfold.agent.declarations import Declarations, commit, transactions
from keyfold.agent.handover import Handover
from keyfold.agent.service import Service
from keyfold.agent.tokens import make_tokens
from keyfold.approval.gate import Approval, Gate, Granted, decode
from keyfold.approval.request import parse
from keyfold.approval.verify import SignatureVerifier
from keyfold.errors import KeyfoldError
from keyfold.lockout import state as lockout
from keyfold.partition.plan import Change, plan
from keyfold.partition.policy import SYSTEM
from keyfold.partition.weaker import KIND, subject
from keyfold.replication import keys
from keyfold.replication.usage import Usage
from keyfold.replication.usage import decode as decode_usage
from keyfold.store.interface import KeyValue


class Partitions:
    def __init__(
        self, service: Service, verifier: SignatureVerifier | None = None, handover: Handover | None = None
    ) -> None:
        self._service = service
        self._store = service.store
        self._registry = service.registry
        self._handover = handover or Handover(service.store)
        self._declarations = Declarations(service)
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
            self._declarations.created(change, made[change.name], prepared[change.name].record, who)
            if change.action == "create"
            else self._declarations.updated(change, current[change.name], items[change.name].mod_revision, who, granted)
            for change in changes
            if change.action != "none"
        ]
        for part in transactions(declarations):
            revision = commit(self._store, part)
        return {"changes": [change.as_reply() for change in changes], "revision": revision}

    def handover(self, names: Sequence[str]) -> dict[str, Any]:
        """The first PINs of partitions, as they were sealed when those were made."""
        return {"handover": self._handover.sealed(names)}

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
