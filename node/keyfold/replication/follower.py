"""Follow etcd: bring every replica level, then apply what the watch delivers, for as long as the agent lives."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict
from collections.abc import Callable
from typing import Protocol

from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.registry import Registry
from keyfold.store.errors import Compacted
from keyfold.store.interface import Batch, Event, Store, Watch

log = logging.getLogger(__name__)

_RETRY_SECONDS = 0.5
_DEFECT_SECONDS = 3.0
_RELEVANT = (keys.CLUSTER, keys.PARTITIONS, keys.OBJECTS, keys.PURGED)


class Logins(Protocol):
    """Who wants to know how logins failed on other nodes."""

    def level(self) -> None: ...

    def follow(self, event: Event) -> None: ...


class Follower:
    """`delivered`: the newest revision of the watch that concerned partitions or objects."""

    def __init__(self, store: Store, registry: Registry, logins: Logins, on_progress: Callable[[], None]) -> None:
        self._store = store
        self._registry = registry
        self._logins = logins
        self._on_progress = on_progress
        self._stop = threading.Event()
        self._watch: Watch | None = None
        # Set once the first attempt to become level with etcd has ended, well or not.
        self.tried = threading.Event()
        self.delivered = 0
        self.problem = "starting"

    def run(self) -> None:
        while not self._stop.is_set():
            try:
                if not self._registry.open_cluster():
                    self.problem = "waiting for genesis (keyfold cluster init)"
                    self.tried.set()
                    self._stop.wait(_RETRY_SECONDS)
                    continue
                revision = self._level()
                self.tried.set()
                self._follow(revision)
            except Compacted:
                log.warning("etcd compacted the history since revision %d; comparing in full", self.delivered)
            except KeyfoldError as error:
                if self.problem != error.what:
                    log.error("%s; not done: %s; next: %s", error.what, error.not_done, error.next_step)
                self.problem = error.what
                self.tried.set()
                self._stop.wait(_RETRY_SECONDS)
            except Exception:
                # Whatever it was, a node that stops following would answer from old state in silence.
                log.exception("a defect in keyfold-agent; following etcd starts again")
                self.problem = "a defect in keyfold-agent: journalctl -u keyfold-agent"
                self.tried.set()
                self._stop.wait(_DEFECT_SECONDS)

    def stop(self) -> None:
        self._stop.set()
        watch = self._watch
        if watch is not None:
            watch.close()

    def _level(self) -> int:
        """Compare in full; the revision to watch after. Replicas skip what they already have."""
        revision = self._registry.reconcile_all()
        self._logins.level()
        head = self._store.get(keys.HEAD, revision=revision)
        self.delivered = 0 if head is None else head.mod_revision
        self.problem = ""
        self._on_progress()
        return revision

    def _follow(self, revision: int) -> None:
        with self._store.watch(keys.PREFIX, revision + 1) as watch:
            self._watch = watch
            # `stop` may have come before there was a watch that it could close.
            if self._stop.is_set():
                return
            for batch in watch:
                if self._stop.is_set():
                    return
                self._deliver(batch)

    def _deliver(self, batch: Batch) -> None:
        for event in batch.events:
            if event.key.startswith(keys.LOGINS):
                self._logins.follow(event)
        relevant = [event for event in batch.events if event.key.startswith(_RELEVANT)]
        if not relevant:
            return
        by_partition: dict[str, list[Event]] = defaultdict(list)
        purged: dict[str, list[str]] = defaultdict(list)
        self._registry.partitions_changed([event for event in relevant if event.key.startswith(keys.PARTITIONS)])
        for event in relevant:
            if event.key.startswith(keys.PURGED) and event.value is not None:
                name, _, file = event.key.removeprefix(keys.PURGED).partition("/")
                purged[name].append(file)
            elif event.key.startswith(keys.OBJECTS):
                name = event.key.removeprefix(keys.OBJECTS).partition("/")[0]
                by_partition[name].append(event)
        for name, events in by_partition.items():
            replica = self._registry.replicas.get(name)
            if replica is not None:
                replica.follow(batch.revision, tuple(events))
        for name, files in purged.items():
            if name in self._registry.replicas:
                self._registry.replicas[name].purged(files)
        self.delivered = relevant[-1].mod_revision
        self._on_progress()
