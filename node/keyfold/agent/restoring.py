"""Carry out an approved restore in etcd, from where every node follows (docs/interfaces.md §3).

`begin` uses the approval and opens the restore's record, `apply` writes, any number of times, `finish` closes both.
What is written is compared with the state it was planned from, object by object, so nothing is looked up here: the cost
of a restore does not depend on how large the partition is. After an interruption `begin` answers with the record.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.agent.service import Service
from keyfold.approval.gate import Gate, Granted, decode
from keyfold.approval.request import parse as parse_request
from keyfold.audit.note import note
from keyfold.backup.archive import TOKEN_OBJECT
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact
from keyfold.media.register import RECORD_KIND
from keyfold.partition.policy import check_name
from keyfold.replication import keys
from keyfold.replication.publish import BYTES_PER_TRANSACTION
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Ledger, Usage, dropped, gone, kept, live, total
from keyfold.restore.order import KIND, REPLACE, Order, order_of
from keyfold.store.interface import MAX_TXN_OPS, Delete, KeyValue, Op, Put, Unchanged
from keyfold.token.object_file import TornFile, check

# Two comparisons per object, and those of approval, officers, figures, row and note, stay below etcd's limit; so do the
# operations, with the note, the figures, the row and `head`.
_OBJECTS_PER_TRANSACTION = MAX_TXN_OPS // 2 - 4
_OPERATIONS_PER_TRANSACTION = MAX_TXN_OPS - 6
_SECONDS = 10.0
_SET_RECORDS = "backup_set"
Request = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class _Change:
    """One object. `content` None: it is live and becomes invalidated. Revisions are those it was planned from, 0: none.

    `live_size`, `shadow_size`: bytes of the live and of the invalidated file there is; `purged`: it was forgotten.
    """

    file: str
    content: StoredObject | None
    live_revision: int
    live_size: int
    shadow_revision: int
    shadow_size: int
    purged: bool

    @classmethod
    def of(cls, row: Mapping[str, Any]) -> _Change:
        there, shadow = row.get("live") or (0, 0), row.get("invalidated") or (0, 0)
        data = None if row.get("data") is None else base64.b64decode(row["data"], validate=True)
        content = None if data is None else StoredObject(dict(row["meta"]), data)
        numbers = (int(there[0]), int(there[1]), int(shadow[0]), int(shadow[1]))
        one = cls(str(row["file"]), content, *numbers, bool(row.get("purged")))
        one.check()
        return one

    def check(self) -> None:
        """Nothing reaches a token directory that is not an object file by name and content."""
        if not self.file.endswith(".object") or "/" in self.file or self.file.startswith("."):
            raise _refused(self.file, "not the name of an object file")
        try:
            check(self.content.data) if self.content else None
        except TornFile as error:
            raise _refused(self.file, str(error)) from error

    @property
    def size(self) -> int:
        return len(self.content.data) if self.content else self.live_size

    @property
    def operations(self) -> int:
        return 1 + (self.content is None or self.shadow_revision > 0) + self.purged

    @property
    def difference(self) -> Usage:
        parts = [gone(self.live_size)] if self.live_revision else []
        parts.append(live(self.size) if self.content else kept(self.live_size))
        return total([*parts, dropped(self.shadow_size)] if self.shadow_revision else parts)


class Restoring:
    def __init__(self, service: Service, partitions: Partitions, gate: Gate) -> None:
        self._service = service
        self._store = service.store
        self._partitions = partitions
        self._gate = gate

    def table(self) -> dict[str, Operation]:
        return {"restore_begin": self.begin, "restore_apply": self.apply, "restore_finish": self.finish}

    # --- begin and finish -------------------------------------------------------------------------------------

    def begin(self, caller: Caller, request: Request) -> Reply:
        """`record`: what the restore under this approval has come to, None with `check` if it was not begun.

        `begun`: what to record; `growth`: bytes by partition, refused as `quota` before anything is written.
        """
        approval = request["approval"]
        request_id = parse_request(decode(approval or {})[0]).id if approval else ""
        record = self._record(request_id) if request_id else None
        if record is not None and record.get("finished"):
            return {"record": record}
        granted, order = self._approved(approval)
        reply = {"record": record, "officers": list(granted.officers), "request_id": granted.request_id}
        if request.get("check") or record is not None:
            return reply
        for name, size in dict(request.get("growth") or {}).items():
            self._ledger(name).check(Usage(0, int(size)))
        begun = self._described(granted, order) | dict(request["begun"]) | {"finished": None}
        key = keys.records(KIND, granted.request_id)
        entry = self._note("restore begun", caller, granted, request.get("partition"), counts=begun.get("counts"))
        ops = [*granted.ops, Put(key, compact(begun)), entry]
        if not self._store.txn([*granted.compares, Unchanged(key, 0)], ops, timeout_seconds=_SECONDS).succeeded:
            raise _moved("nothing was restored")
        return {**reply, "record": begun}

    def finish(self, caller: Caller, request: Request) -> Reply:
        """The approval is used up, and the record has `result` and when it finished."""
        granted, item = self._under_way(request["approval"])
        done = json.loads(item.value) | dict(request["result"]) | {"finished": stamp(self._service.clock.utc())}
        entry = self._note("restore finished", caller, granted, done.get("partition"), counts=done.get("counts"))
        compares = [*granted.compares, Unchanged(item.key, item.mod_revision)]
        ops = [*granted.finished, Put(item.key, compact(done)), entry]
        if not self._store.txn(compares, ops, timeout_seconds=_SECONDS).succeeded:
            raise _moved("the restore is not recorded as finished")
        return {"record": done}

    def _described(self, granted: Granted, order: Order) -> dict[str, Any]:
        asked = granted.request
        return {
            "request_id": granted.request_id,
            "ticket": asked.ticket,
            "reason": asked.reason,
            "requested_by": asked.requested_by,
            "officers": list(granted.officers),
            "partition": asked.partition,
            **order.fields(),
            "chargeable": order.chargeable,
            "started": stamp(self._service.clock.utc()),
        }

    # --- approval ---------------------------------------------------------------------------------------------

    def _approved(self, approval: Any) -> tuple[Granted, Order]:
        """What the officers signed is what is done: everything follows from the request's own fields."""
        if not approval:
            self._gate.check(None, kind=KIND, partition=None, subject={})
        request = parse_request(decode(approval)[0])
        order = order_of(request)
        granted = self._gate.check(
            approval, kind=KIND, partition=order.partition, subject=dict(request.own), resume=True
        )
        place = (_SET_RECORDS, order.set_id) if order.medium is None else (RECORD_KIND, order.medium)
        recorded = self._store.get(keys.records(*place))
        if recorded is not None and json.loads(recorded.value)["manifest_sha256"] != order.manifest_sha256:
            raise KeyfoldError(
                "unapproved",
                f"the request approves another backup set than {order.set_id}: its manifest's SHA-256 is not the one "
                "this cluster recorded",
                not_done="nothing was restored",
                next_step="keyfold backup verify; then write the request anew (keyfold restore request)",
            )
        return granted, order

    def _under_way(self, approval: Any) -> tuple[Granted, KeyValue]:
        granted, _ = self._approved(approval)
        item = self._store.get(keys.records(KIND, granted.request_id))
        if item is None:
            raise KeyfoldError(
                "conflict", "this restore was not begun", not_done="nothing was written", next_step="restore_begin"
            )
        return granted, item

    def _record(self, request_id: str) -> dict[str, Any] | None:
        item = self._store.get(keys.records(KIND, request_id))
        found: dict[str, Any] | None = None if item is None else json.loads(item.value)
        return found

    # --- writing ----------------------------------------------------------------------------------------------

    def apply(self, caller: Caller, request: Request) -> Reply:
        """`revision` that has all of `objects`; whole transactions, so what a conflict leaves out is planned anew."""
        granted, _ = self._under_way(request["approval"])
        name, order = check_name(request["partition"]), order_of(granted.request)
        changes = [_Change.of(row) for row in request["objects"]]
        self._within(name, order, changes)
        row = request.get("partition_row")
        ledger = self._ledger(name, row)
        revision = self._service.applied_revision
        for part in _portions(changes):
            revision = self._transaction(name, part, ledger, granted, caller, row)
            row = None
        return {"revision": revision}

    def _within(self, name: str, order: Order, changes: Sequence[_Change]) -> None:
        """KeyfoldError `unapproved` for what the signed request does not cover."""
        problem = ""
        if (order.target or order.partition or name) != name:
            problem = f"it is for {order.target or order.partition}, not {name}"
        for one in changes:
            over = one.content is not None and one.live_revision > 0
            if over and not (order.restore_pin if one.file == TOKEN_OBJECT else order.mode == REPLACE):
                problem = f"it does not let {one.file} be changed, which is live"
            if one.content is None and (order.mode != REPLACE or one.file == TOKEN_OBJECT):
                problem = f"it does not let {one.file} be removed"
        if problem:
            raise KeyfoldError(
                "unapproved",
                f"the request does not cover this: {problem}",
                not_done="nothing of it was written",
                next_step="keyfold restore preview --request shows what the request covers",
            )

    def _transaction(
        self,
        name: str,
        part: Sequence[_Change],
        ledger: Ledger,
        granted: Granted,
        caller: Caller,
        row: Mapping[str, Any] | None,
    ) -> int:
        sealer = self._service.registry.sealer(name)
        compares, ops = list(granted.compares), list[Op]([Put(keys.HEAD, b"")])
        for one in part:
            there, shadow = keys.live(name, one.file), keys.invalidated(name, one.file)
            compares += [Unchanged(there, one.live_revision), Unchanged(shadow, one.shadow_revision)]
            if one.content is None:
                ops += [Delete(there), Put(shadow, sealer.seal(shadow, self._dying(name, one)))]
                continue
            ops.append(Put(there, sealer.seal(there, one.content)))
            ops += [Delete(shadow)] if one.shadow_revision else []
            ops += [Delete(keys.purged(name, one.file))] if one.purged else []
        if row is not None:
            compares.append(Unchanged(keys.partition(name), 0))
            ops.append(Put(keys.partition(name), compact(row)))
        entry = self._note(
            "restore",
            caller,
            granted,
            name,
            files=[one.file for one in part],
            removed=[one.file for one in part if one.content is None] or None,
        )
        difference = total(one.difference for one in part)
        result = ledger.transact(compares, ops, entry, difference, timeout_seconds=_SECONDS)
        if not result.succeeded:
            raise _moved(f"{len(part)} objects of {name} and those after them were not restored")
        return result.revision

    def _dying(self, name: str, one: _Change) -> StoredObject:
        item = self._store.get(keys.live(name, one.file))
        if item is None or item.mod_revision != one.live_revision:
            raise _moved(f"{one.file} and what comes after it were not restored")
        content = self._service.registry.sealer(name).open(item.key, item.value)
        return StoredObject({**content.meta, "invalidated_at": stamp(self._service.clock.utc())}, content.data)

    def _ledger(self, name: str, row: Mapping[str, Any] | None = None) -> Ledger:
        declared = row or self._partitions.row(name)
        return Ledger(self._store, name, lambda: int(declared["policy"]["max_size_bytes"]))

    def _note(self, what: str, caller: Caller, granted: Granted, partition: str | None, **detail: Any) -> Put:
        return note(
            self._service.clock,
            self._service.config.node,
            what=what,
            who=str(caller),
            partition=partition,
            ticket=granted.request.ticket,
            officers=list(granted.officers),
            request=granted.request_id,
            set=granted.request.own["set"],
            **detail,
        )


def _portions(changes: Sequence[_Change]) -> Iterator[list[_Change]]:
    """Runs that fit into one transaction each, in order."""
    part: list[_Change] = []
    operations = size = 0
    for one in changes:
        full = len(part) >= _OBJECTS_PER_TRANSACTION or operations + one.operations > _OPERATIONS_PER_TRANSACTION
        if part and (full or size + one.size > BYTES_PER_TRANSACTION):
            yield part
            part, operations, size = [], 0, 0
        part.append(one)
        operations += one.operations
        size += one.size
    if part:
        yield part


def _moved(not_done: str) -> KeyfoldError:
    return KeyfoldError(
        "conflict",
        "the partition, the officers or the approval changed while it was being restored",
        not_done=not_done,
        next_step="run the restore again with the same request: it plans anew and goes on where it stopped",
    )


def _refused(file: str, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the object {file!r} of the backup cannot be restored: {reason}",
        not_done="nothing was written",
        next_step="keyfold backup verify; then try an older set",
    )
