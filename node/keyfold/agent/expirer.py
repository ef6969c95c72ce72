"""Hourly, on one node of the cluster: expire invalidated objects, finish what purges left due, check the figures."""

from __future__ import annotations

import json
import logging
from collections import defaultdict
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from typing import Any

from keyfold.agent.server import Caller, Reply
from keyfold.audit.note import note
from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.invalidation import expiry
from keyfold.invalidation.entry import Entry, entry
from keyfold.invalidation.expiry import REMEMBER_PURGED_DAYS, State
from keyfold.invalidation.history import sweep
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.changes import portions
from keyfold.replication.publish import BYTES_PER_TRANSACTION, CHANGES_PER_TRANSACTION
from keyfold.replication.registry import Registry
from keyfold.replication.usage import Ledger, Usage, count, decode, dropped, total
from keyfold.store.interface import Delete, Op, Put, Store, Unchanged

log = logging.getLogger(__name__)

EVERY = timedelta(hours=1)
_LOCK_SECONDS = 120
_SECONDS = 10.0
_STATE = keys.EXPIRY + "state"
_LOCK = keys.EXPIRY + "lock"


class Expirer:
    """Decides what is due and acts. `problem`: why this node's last hourly attempt expired nothing, or nothing."""

    def __init__(self, store: Store, registry: Registry, clock: Clock, node: str) -> None:
        self._store = store
        self._registry = registry
        self._clock = clock
        self._node = node
        self.problem = ""

    def operation(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        """`object_expire`: now, whatever the hour."""
        accept = bool(request.get("accept_pause"))
        if request.get("check"):
            return self._reply(self._plan(accept_pause=accept), 0)
        with suppress(_Elsewhere):
            return self._locked(str(caller), accept_pause=accept)
        raise KeyfoldError(
            "conflict",
            "another node is expiring objects at this moment",
            not_done="nothing was expired by this command",
            next_step="run it again in a minute",
        )

    def require_clock(self, *, accept_pause: bool = False) -> None:
        """KeyfoldError `refused` unless what this node's clock says may end something for good."""
        others, nodes = self._clocks()
        problem = expiry.clock_problem(self._clock.utc(), self._state(), others, nodes, accept_pause=accept_pause)
        if problem:
            raise KeyfoldError(
                "refused",
                f"nothing expires: {problem}",
                not_done="nothing was expired or destroyed; what is invalidated stays",
                next_step="set the clocks right (timedatectl, chronyc tracking); if they are: keyfold object expire "
                "--accept-pause",
            )

    def hourly(self) -> None:
        """What the agent does by itself. Raises what it stumbled over, and remembers it as `problem`."""
        try:
            self._if_due()
        except KeyfoldError as error:
            # Without a majority nothing goes on, and status says that by itself.
            self.problem = "" if error.code == "no_quorum" else error.what
            raise
        self.problem = ""

    def _if_due(self) -> None:
        item = self._store.get(_STATE)
        if item is not None:
            since = self._clock.utc() - expiry.decode(item.value).ran_at
            # A clock that went back is the run's to complain about.
            if timedelta(0) <= since < EVERY:
                return
        with suppress(_Elsewhere):
            self._locked(f"node {self._node}", accept_pause=False)

    def _locked(self, who: str, *, accept_pause: bool) -> dict[str, Any]:
        lease = self._store.grant(_LOCK_SECONDS)
        try:
            taken = self._store.txn([Unchanged(_LOCK, 0)], [Put(_LOCK, self._node.encode(), lease)])
            if not taken.succeeded:
                raise _Elsewhere
            return self._run(who, lease, accept_pause=accept_pause)
        finally:
            self._store.revoke(lease)

    def _run(self, who: str, lease: int, *, accept_pause: bool) -> dict[str, Any]:
        found = self._plan(accept_pause=accept_pause)
        revision = 0
        for name, entries in found.items():
            for run in portions(entries, lambda _: 0, count=CHANGES_PER_TRANSACTION, size_bytes=BYTES_PER_TRANSACTION):
                revision = self._expire(name, run, who)
                self._store.keep_alive(lease)
        self._forget_old_purges()
        self._check_figures()
        self._write_down()
        sweep(self._store)
        return self._reply(found, revision)

    def _reply(self, found: Mapping[str, Sequence[Entry]], revision: int) -> dict[str, Any]:
        rows = [{"partition": name, **one.as_row("expire")} for name, entries in found.items() for one in entries]
        return {"plan": rows, "revision": revision or None}

    # --- deciding ---------------------------------------------------------------------------------------------

    def _plan(self, *, accept_pause: bool) -> dict[str, list[Entry]]:
        """What is due by partition. KeyfoldError `refused` while this node's clock is not to be believed."""
        now, state = self._clock.utc(), self._state()
        self.require_clock(accept_pause=accept_pause)
        by_partition: dict[str, list[Entry]] = defaultdict(list)
        for item in self._store.scan(keys.INVALIDATED):
            name, _, file = item.key.removeprefix(keys.INVALIDATED).partition("/")
            by_partition[name].append(entry(file, item, self._registry.sealer(name).open(item.key, item.value)))
        found = {}
        for name, entries in by_partition.items():
            row = self._registry.rows.get(name)
            # Without its declaration nobody knows for how long; it may be about to be restored.
            days = 0 if row is None else int(row["policy"]["invalidation_days"])
            if due := expiry.due(entries, state, now, days):
                found[name] = due
        return found

    def _state(self) -> State | None:
        item = self._store.get(_STATE)
        return None if item is None else expiry.decode(item.value)

    def _clocks(self) -> tuple[dict[str, datetime], int]:
        """What the clocks of the other live nodes said last, and how many nodes there are at all."""
        rows = [json.loads(item.value) for item in self._store.scan(keys.NODES)]
        others = {row["name"]: datetime.fromisoformat(row["updated"]) for row in rows if row["name"] != self._node}
        known = {item.key.removeprefix(keys.records("node")) for item in self._store.scan(keys.records("node"))}
        return others, len(known | {self._node, *others})

    # --- acting -----------------------------------------------------------------------------------------------

    def _expire(self, name: str, run: Sequence[Entry], who: str) -> int:
        compares, ops = list[Unchanged](), list[Op]([Put(keys.HEAD, b"")])
        for one in run:
            shadow = keys.invalidated(name, one.file)
            compares.append(Unchanged(shadow, one.revision))
            ops += [Delete(shadow), Put(keys.purged(name, one.file), b"expire")]
        record = note(self._clock, self._node, what="expire", who=who, partition=name, files=[one.file for one in run])
        ledger = Ledger(self._store, name, lambda: None)
        difference = total(dropped(one.size) for one in run)
        result = ledger.transact(compares, ops, record, difference, timeout_seconds=_SECONDS)
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                f"partition {name}: invalidated objects changed while they expired",
                not_done="the remaining ones did not expire",
                next_step="nothing: the next run plans anew",
            )
        log.info("partition %s: %d invalidated objects expired", name, len(run))
        return result.revision

    def _forget_old_purges(self) -> None:
        known = expiry.proven(self._state(), self._clock.utc(), REMEMBER_PURGED_DAYS)
        for item in self._store.scan(keys.PURGED, keys_only=True) if known else ():
            if item.mod_revision <= known:
                self._store.txn([Unchanged(item.key, item.mod_revision)], [Delete(item.key)])

    def _check_figures(self) -> None:
        """Count every partition at one revision; figures that differ are a defect, said and put right."""
        state = self._state()
        if state is not None and state.points and self._clock.utc() - state.points[-1].at < timedelta(days=1):
            return
        scan = self._store.scan(keys.PARTITIONS, keys_only=True)
        for name in [item.key.removeprefix(keys.PARTITIONS) for item in scan]:
            if name == SYSTEM:
                continue
            item = self._store.get(keys.usage(name), revision=scan.revision)
            counted = self._count(name, scan.revision)
            if decode(item) == counted:
                continue
            log.error("partition %s: its figures were %s, counted are %s", name, decode(item), counted)
            record = note(self._clock, self._node, what="figures corrected", who=f"node {self._node}", partition=name)
            expected = 0 if item is None else item.mod_revision
            self._store.txn([Unchanged(keys.usage(name), expected)], [Put(keys.usage(name), counted.encode()), record])

    def _count(self, name: str, revision: int) -> Usage:
        sealer = self._registry.sealer(name)
        sizes = (
            [len(sealer.open(item.key, item.value).data) for item in self._store.scan(prefix, revision=revision)]
            for prefix in (keys.objects(name), keys.invalidated(name))
        )
        return count(*sizes)

    def _write_down(self) -> None:
        item = self._store.get(_STATE)
        before = None if item is None else expiry.decode(item.value)
        after = expiry.after_run(before, self._clock.utc(), self._store.revision())
        expected = 0 if item is None else item.mod_revision
        self._store.txn([Unchanged(_STATE, expected)], [Put(_STATE, after.encode())])


class _Elsewhere(Exception):
    """Another node is at it."""
