"""The audit's part of the agent: one node of the cluster links notes, every node ships entries to its journal."""

from __future__ import annotations

import base64
import contextlib
import json
import logging
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from keyfold.audit import read
from keyfold.audit.journal import Journal
from keyfold.audit.linker import Linker, Sign
from keyfold.audit.ship import Shipper
from keyfold.clock import Clock
from keyfold.config import Config
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import Put, Store, Unchanged

log = logging.getLogger(__name__)

_LEASE_SECONDS = 10
_KEEP_ALIVE_SECONDS = 3.0
_LINK_SECONDS = 0.5
_SHIP_SECONDS = 1.0


class Auditing:
    """`cluster` tells the row, once this node has opened it. The loops end when `stop` is set; they may raise."""

    def __init__(
        self,
        config: Config,
        store: Store,
        clock: Clock,
        *,
        cluster: Callable[[], Mapping[str, Any] | None],
        sign: Sign,
        journal: Journal,
        stop: threading.Event,
    ) -> None:
        self._config = config
        self._store = store
        self._clock = clock
        self._stop = stop
        self._linker = Linker(store, clock, config.node, sign)
        self._shipper = Shipper(store, journal, config.state / "agent" / "audit-shipped.json")
        self._cluster = cluster

    @property
    def problem(self) -> str:
        return self._shipper.problem

    def link_loop(self) -> None:
        """Be the writer, or wait until there is none. The lease spares work; the chain's own compare keeps it whole."""
        while not self._stop.is_set():
            if self._cluster() is not None and self._store.get(keys.AUDIT_WRITER) is None:
                self._write()
            self._stop.wait(_SHIP_SECONDS)

    def ship_loop(self) -> None:
        while not self._stop.is_set():
            try:
                self._shipper.ship()
            except OSError as error:
                log.error("audit entries are not in the journal yet: %s; they are kept and tried again", error)
                self._stop.wait(_KEEP_ALIVE_SECONDS)
            self._stop.wait(_SHIP_SECONDS)

    def _write(self) -> None:
        lease = self._store.grant(_LEASE_SECONDS)
        mine = Put(keys.AUDIT_WRITER, self._config.node.encode(), lease)
        if not self._store.txn([Unchanged(keys.AUDIT_WRITER, 0)], [mine]).succeeded:
            self._store.revoke(lease)
            return
        try:
            self._link_on(lease)
        finally:
            with contextlib.suppress(KeyfoldError):
                self._store.revoke(lease)

    def _link_on(self, lease: int) -> None:
        alive = self._clock.monotonic()
        while not self._stop.is_set():
            cluster = self._cluster()
            linked = 0 if cluster is None or self._being_rebuilt(cluster) else self._linker.link(cluster)
            if self._clock.monotonic() - alive >= _KEEP_ALIVE_SECONDS:
                if not self._store.keep_alive(lease):
                    return
                alive = self._clock.monotonic()
            if not linked:
                self._stop.wait(_LINK_SECONDS)

    def _being_rebuilt(self, cluster: Mapping[str, Any]) -> bool:
        """Until the old chain is back nothing is linked: there is one chain, and it goes on."""
        if "rebuilding" not in cluster:
            return False
        item = self._store.get(keys.CLUSTER)
        return item is not None and "rebuilding" in json.loads(item.value)

    # --- the administrator's operations ----------------------------------------------------------------------

    def summary(self) -> dict[str, Any]:
        return read.summary(self._store, self._clock.utc())

    def entries(self, since: int) -> Iterator[dict[str, Any]]:
        """The chain at one revision, as etcd holds it: first its head and what is pending, then every key and value.

        From entry `since` on; 0: everything under the prefix, also what is no entry.
        """
        scan = self._store.scan(keys.AUDIT_CHAIN)
        head = read.head(self._store, revision=scan.revision)
        yield {
            "revision": scan.revision,
            "head": None if head is None else {"seq": head.seq, "hash": head.hash, "revision": head.revision},
            **read.pending(self._store, self._clock.utc()),
        }
        items = scan if since < 1 else read.entries(self._store, since, 0 if head is None else head.seq)
        for item in items:
            name = item.key.removeprefix(keys.AUDIT_CHAIN)
            yield {"name": name, "value": base64.b64encode(item.value).decode()}
        yield {"end": True}
