"""Invalidated objects: list them, bring them back, forget them for good. Plan, then one series of transactions."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from keyfold.agent.partitions import Partitions
from keyfold.agent.server import Caller, Reply
from keyfold.agent.service import Service
from keyfold.approval.gate import Gate, Granted
from keyfold.audit.note import note
from keyfold.errors import KeyfoldError
from keyfold.invalidation import plan as planning
from keyfold.invalidation.entry import Entry, Selection, entry
from keyfold.invalidation.history import sweep
from keyfold.invalidation.plan import REACTIVATE, Plan
from keyfold.partition.policy import check_name
from keyfold.replication import keys
from keyfold.replication.changes import portions
from keyfold.replication.publish import BYTES_PER_TRANSACTION, CHANGES_PER_TRANSACTION
from keyfold.replication.sealed import StoredObject
from keyfold.replication.usage import Ledger, Usage, dropped, live, total
from keyfold.store.interface import Delete, Op, Put, Unchanged

_SECONDS = 10.0
Request = Mapping[str, Any]


class Shadows:
    def __init__(self, service: Service, partitions: Partitions, gate: Gate) -> None:
        self._service = service
        self._store = service.store
        self._partitions = partitions
        self._gate = gate

    def reactivate(self, caller: Caller, request: Request) -> Reply:
        """All that is chosen becomes live on every node, or nothing; with `check` only the plan."""
        name, selection = check_name(request["partition"]), Selection.of(request)
        self._partitions.row(name)
        with_public = request.get("with_public", True) is not False
        made = planning.reactivate(
            selection, list(self._live(name)), list(self._invalidated(name)), with_public=with_public
        )
        return self._carried_out(name, made, caller, request)

    def purge(self, caller: Caller, request: Request) -> Reply:
        """All that is chosen is gone for good, from etcd's history too; with `check` only the plan."""
        name, selection = check_name(request["partition"]), Selection.of(request)
        self._partitions.row(name)
        made = planning.purge(
            selection,
            set(self._names(keys.objects(name))),
            list(self._invalidated(name)),
            set(self._names(keys.purged(name))),
        )
        reply = self._carried_out(name, made, caller, request)
        if request.get("check"):
            return reply
        try:
            swept = sweep(self._store)
        except KeyfoldError as error:
            # The purge is committed, and an agent finishes it.
            return {**reply, "history": {"compacted": None, "problems": {"etcd": error.what}}}
        return {**reply, "history": None if swept is None else swept.as_row()}

    # --- planning ---------------------------------------------------------------------------------------------

    def _live(self, name: str) -> Iterator[Entry]:
        return self._entries(name, keys.objects(name))

    def _invalidated(self, name: str) -> Iterator[Entry]:
        return self._entries(name, keys.invalidated(name))

    def _entries(self, name: str, prefix: str) -> Iterator[Entry]:
        sealer = self._service.registry.sealer(name)
        for item in self._store.scan(prefix):
            yield entry(item.key.removeprefix(prefix), item, sealer.open(item.key, item.value))

    def _names(self, prefix: str) -> Iterator[str]:
        return (item.key.removeprefix(prefix) for item in self._store.scan(prefix, keys_only=True))

    # --- carrying out -----------------------------------------------------------------------------------------

    def _carried_out(self, name: str, made: Plan, caller: Caller, request: Request) -> dict[str, Any]:
        reply: dict[str, Any] = {"plan": made.rows(), "files": made.files, "revision": None}
        if not made.writes or request.get("check"):
            return reply
        granted = self._gate.check(
            request.get("approval"), kind=made.action, partition=name, subject={"files": made.files}, resume=True
        )
        policy = self._partitions.row(name)["policy"]
        ledger = Ledger(self._store, name, lambda: int(policy["max_size_bytes"]))
        runs = list(
            portions(made.writes, lambda one: one.size, count=CHANGES_PER_TRANSACTION, size_bytes=BYTES_PER_TRANSACTION)
        )
        for place, run in enumerate(runs):
            first, last = place == 0, place == len(runs) - 1
            compares = granted.compares if first else ()
            # One key marks the approval's use: in a single transaction only its end is written.
            ops = granted.finished if last else granted.ops if first else ()
            reply["revision"] = self._transaction(name, made.action, run, ledger, granted, compares, ops, caller)
        return reply

    def _transaction(
        self,
        name: str,
        action: str,
        run: Sequence[Entry],
        ledger: Ledger,
        granted: Granted,
        compares: tuple[Unchanged, ...],
        ops: tuple[Op, ...],
        caller: Caller,
    ) -> int:
        checks, writes = [*compares], [*ops, Put(keys.HEAD, b"")]
        for one in run:
            shadow = keys.invalidated(name, one.file)
            checks.append(Unchanged(shadow, one.revision))
            writes.append(Delete(shadow))
            if action == REACTIVATE:
                there = keys.live(name, one.file)
                checks.append(Unchanged(there, 0))
                writes.append(self._revived(name, one, there))
            else:
                writes.append(Put(keys.purged(name, one.file), action.encode()))
        if action != REACTIVATE:
            writes.append(Put(keys.HISTORY_DUE, name.encode()))
        record = note(
            self._service.clock,
            self._service.config.node,
            what=action,
            who=str(caller),
            partition=name,
            files=[one.file for one in run],
            officers=list(granted.officers),
            request=granted.request_id,
            ticket=granted.request.ticket,
        )
        difference = total(_difference(one, action) for one in run)
        result = ledger.transact(checks, writes, record, difference, timeout_seconds=_SECONDS)
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"partition {name}, the officers or the approval changed meanwhile",
                not_done=f"{len(run)} objects and those after them: no {action}",
                next_step="run it again: it plans anew, and goes on under the same approval if it was begun",
            )
        return result.revision

    def _revived(self, name: str, one: Entry, there: str) -> Put:
        sealer = self._service.registry.sealer(name)
        item = self._store.get(keys.invalidated(name, one.file))
        if item is None or item.mod_revision != one.revision:
            raise KeyfoldError(
                "conflict",
                f"partition {name}: {one.file} is not invalidated any more",
                not_done="it was not reactivated, nor those after it",
                next_step="keyfold object list, with and without --invalidated; then run it again",
            )
        return Put(there, sealer.seal(there, _without_death(sealer.open(item.key, item.value))))


def _without_death(content: StoredObject) -> StoredObject:
    return StoredObject({key: value for key, value in content.meta.items() if key != "invalidated_at"}, content.data)


def _difference(one: Entry, action: str) -> Usage:
    return dropped(one.size) + live(one.size) if action == REACTIVATE else dropped(one.size)
