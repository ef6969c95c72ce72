"""Partitions as declared in etcd: list them, plan a declaration, carry it out."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, NoReturn

from keyfold.agent.service import Service
from keyfold.approval.gate import Approval, Gate, Granted, decode
from keyfold.approval.request import parse
from keyfold.approval.verify import SignatureVerifier
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.custody.create import create_partition_token
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
        """Plan, then execute; `check` stops in between. Each partition is one transaction.

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
        for change in changes:
            if change.action == "create":
                revision = self._create(change, who)
            elif change.action == "update":
                row, records = self._opting(change, {**current[change.name], **change.after}, who)
                expected = items[change.name].mod_revision
                revision = self._swap(change, row, expected, records, granted.get(change.name))
        return {"changes": [change.as_reply() for change in changes], "revision": revision}

    def _opting(self, change: Change, row: dict[str, Any], who: str) -> tuple[dict[str, Any], list[Put]]:
        """The row with who opted out of key invalidation and when, and the audit notes about it."""
        clock, node = self._service.clock, self._service.config.node
        row, what = opting(change.before, row, who, stamp(clock.utc()))
        return row, [note(clock, node, what=what, who=who, partition=change.name)] if what else []

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

    def _create(self, change: Change, who: str) -> int:
        """The token is made in a scratch directory and becomes real when etcd has it, here as on every other node."""
        scratch = Path(tempfile.mkdtemp(dir=self._service.config.state / "agent", prefix="new-"))
        try:
            token_uuid = create_partition_token(scratch, change.name, 0, 0, change.so_pin, change.pin)
            files = {path.name: path.read_bytes() for path in (scratch / "tokens" / token_uuid).glob("*.object")}
        finally:
            shutil.rmtree(scratch)
        now = stamp(self._service.clock.utc())
        row = {
            "name": change.name,
            "uuid": str(uuid.uuid4()),
            "token_uuid": token_uuid,
            **change.after,
            "created": now,
        }
        row, records = self._opting(change, row, who)
        metas = metadata({file: describe(data) for file, data in files.items()}, (), {}, now)
        sealer = self._registry.sealer(change.name)
        puts = []
        for file, data in files.items():
            key = keys.live(change.name, file)
            puts.append(Put(key, sealer.seal(key, StoredObject(metas[file], data))))
        puts.append(Put(keys.usage(change.name), count(map(len, files.values()), ()).encode()))
        return self._swap(change, row, 0, [*puts, *records])

    def _swap(
        self,
        change: Change,
        row: Mapping[str, Any],
        expected: int,
        others: list[Put],
        granted: Granted | None = None,
    ) -> int:
        name, key = change.name, keys.partition(change.name)
        way = change.direction
        compares = [Unchanged(key, expected), *(granted.compares if granted else ())]
        declare = Put(key, json.dumps(row, separators=(",", ":")).encode())
        record = note(
            self._service.clock,
            self._service.config.node,
            what="policy" if change.policy_differs else f"partition {change.action}",
            who="administrator",
            partition=name,
            before=change.before or None,
            after=change.after,
            weaker=sorted(way.weaker) or None,
            stronger=sorted(way.stronger) or None,
            approved_by=list(granted.officers) if granted else None,
            request=granted.request_id if granted else None,
        )
        used = granted.finished if granted else ()
        result = self._store.txn(compares, [declare, Put(keys.HEAD, b""), record, *used, *others])
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"the partition {name} was changed by somebody else at the same moment"
                + (", or its approval was used, or the officers are others now" if granted else ""),
                not_done=f"the declaration of {name} was not applied; those before it were",
                next_step="run the playbook again",
            )
        return result.revision
