"""The agent as a whole: follows etcd, keeps the node's entry alive, settles what happens outside the module."""

from __future__ import annotations

import json
import logging
import threading
from collections.abc import Callable
from typing import Any

from keyfold import __version__
from keyfold.agent.auditing import Auditing
from keyfold.agent.backstop import Backstop
from keyfold.agent.expirer import Expirer
from keyfold.audit.journal import Journal, SystemJournal
from keyfold.clock import Clock, stamp
from keyfold.config import Config
from keyfold.errors import KeyfoldError
from keyfold.lockout.guard import Guard
from keyfold.replication import keys
from keyfold.replication.base import Base
from keyfold.replication.follower import Follower
from keyfold.replication.host import Host
from keyfold.replication.registry import Registry
from keyfold.replication.replica import Replica, Tools
from keyfold.store.interface import Put, Store

log = logging.getLogger(__name__)

LEASE_SECONDS = 10
_HEARTBEAT_SECONDS = 3.0
_STATUS_PAUSE_SECONDS = 0.2
_SETTLE_SECONDS = 0.05
_IDLE_SECONDS = 5.0
# Killing the agent at any moment is safe; this only lets a step under way finish.
_STOP_SECONDS = 0.5
_BACKSTOP_SECONDS = 600.0
_EXPIRE_SECONDS = 300.0
# Well within what expiry lets clocks differ by.
_CLOCK_SECONDS = 60.0


class Service:
    """Owns the threads; `registry` and `store` serve the operations of the socket."""

    def __init__(
        self, config: Config, store: Store, host: Host, base: Base, clock: Clock, *, journal: Journal | None = None
    ) -> None:
        self.config = config
        self.store = store
        self.host = host
        self.base = base
        self.clock = clock
        self._stop = threading.Event()
        self._changed = threading.Event()
        self._failures: dict[str, str] = {}
        tools = Tools(store, base, clock, config.node, config.state / "conflicts", host.drain)
        self.registry = Registry(tools, host)
        self.logins = Guard(store, clock, config.node, self.registry.policy)
        self.expirer = Expirer(store, self.registry, clock, config.node)
        self.follower = Follower(store, self.registry, self.logins, on_progress=self._changed.set)
        self.audit = Auditing(
            config,
            store,
            clock,
            cluster=lambda: self.registry.cluster,
            sign=host.sign_audit,
            journal=journal or SystemJournal(),
            stop=self._stop,
        )
        self._threads = [
            threading.Thread(target=loop, name=name, daemon=True)
            for name, loop in (
                ("follow", self.follower.run),
                ("settle", self._guard(self._settle_loop)),
                ("heartbeat", self._guard(self._heartbeat_loop)),
                ("expire", self._guard(self._expire_loop)),
                ("audit-link", self._guard(self.audit.link_loop)),
                ("audit-ship", self._guard(self.audit.ship_loop)),
            )
        ]

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        self._stop.set()
        self._changed.set()
        self.follower.stop()
        # It gives its lease back, so that another node links at once.
        next(thread for thread in self._threads if thread.name == "audit-link").join(timeout=_STOP_SECONDS)
        self.store.close()
        for thread in self._threads:
            thread.join(timeout=_STOP_SECONDS)
        self.base.close()

    @property
    def applied_revision(self) -> int:
        """Everything relevant up to it is in the token directories of this node."""
        waiting = [replica.waiting for replica in list(self.registry.replicas.values()) if replica.waiting]
        return min([self.follower.delivered, *(revision - 1 for revision in waiting)])

    @property
    def problem(self) -> str:
        """What keeps this node from being level with etcd, or from its other duties; or nothing."""
        problems = [replica.problem for replica in list(self.registry.replicas.values())]
        every = (self.follower.problem, *problems, self.audit.problem, self.expirer.problem)
        return next((problem for problem in every if problem), "")

    def node_row(self) -> dict[str, Any]:
        """This node's entry in etcd; `updated` apart, it changes only when something happened."""
        replicas = list(self.registry.replicas.values())
        return {
            "name": self.config.node,
            "site": self.config.site,
            "site_role": self.config.site_role,
            "version": __version__,
            "applied_revision": self.applied_revision,
            "partitions": len(replicas),
            "objects": sum(replica.object_count for replica in replicas),
            "conflicts": self.host.conflicts(),
            "problem": self.problem,
        }

    def _guard(self, loop: Callable[[], None]) -> Callable[[], None]:
        def run() -> None:
            while not self._stop.is_set():
                try:
                    loop()
                except KeyfoldError as error:
                    log.error("%s; not done: %s; next: %s", error.what, error.not_done, error.next_step)
                    self._stop.wait(_HEARTBEAT_SECONDS)
                except Exception:
                    log.exception("a defect in keyfold-agent; the loop starts again")
                    self._stop.wait(_HEARTBEAT_SECONDS)

        return run

    def _settle_loop(self) -> None:
        """Queued remote changes, unexplained local changes, and the slow comparison as a backstop."""
        backstop = Backstop(self.clock.monotonic(), _BACKSTOP_SECONDS)
        while not self._stop.is_set():
            replicas = list(self.registry.replicas.values())
            busy = any(replica.unsettled for replica in replicas)
            # A pause even when changes are there: a module call in flight drains them itself.
            if not busy and self.host.wait_for_changes(_IDLE_SECONDS):
                busy = True
            if busy:
                self._stop.wait(_SETTLE_SECONDS)
            self.host.drain()
            compare = backstop.due(self.clock.monotonic(), [replica.name for replica in replicas])
            for replica in replicas:
                # With a thousand partitions, looking at each that has nothing to do would be most of the work.
                if replica.unsettled or replica.waiting or replica.name in compare:
                    self._attend(replica, compare=replica.name in compare)

    def _attend(self, replica: Replica, *, compare: bool) -> None:
        """What one partition needs; its failure must not keep the others from being attended to."""
        failure = ""
        try:
            replica.level_again()
            replica.advance()
            replica.settle()
            replica.bump_again()
            if compare:
                replica.compare()
        except Exception as error:
            failure = repr(error)
            if self._failures.get(replica.name) != failure:
                log.exception("partition %s could not be attended to; it is tried again", replica.name)
        self._failures[replica.name] = failure

    def _expire_loop(self) -> None:
        while not self._stop.wait(_EXPIRE_SECONDS):
            if self.registry.cluster is not None:
                self.expirer.hourly()

    def _heartbeat_loop(self) -> None:
        """The node's entry lives under a lease: when the node dies, it goes."""
        lease = self.store.grant(LEASE_SECONDS)
        place = {key: getattr(self.config, key) for key in ("site", "site_role")}
        record = keys.records("node", self.config.node)
        self.store.txn((), [Put(record, json.dumps({"name": self.config.node, **place}).encode())], timeout_seconds=5.0)
        published: dict[str, Any] = {}
        again = 0.0
        while not self._stop.is_set():
            row = self.node_row()
            # `updated` also tells the others what this node's clock says.
            if row != published or self.clock.monotonic() >= again:
                again = self.clock.monotonic() + _CLOCK_SECONDS
                entry = {**row, "updated": stamp(self.clock.utc())}
                self.store.txn(
                    (), [Put(keys.node(self.config.node), json.dumps(entry).encode(), lease)], timeout_seconds=5.0
                )
                published = row
            if not self.store.keep_alive(lease):
                return
            # At once when something was applied, but no more than a few times a second.
            self._changed.wait(_HEARTBEAT_SECONDS)
            self._changed.clear()
            self._stop.wait(_STATUS_PAUSE_SECONDS)
