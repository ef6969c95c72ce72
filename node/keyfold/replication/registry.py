"""The partitions this node has: opened, provisioned and replicated as etcd declares them."""

from __future__ import annotations

import json
import threading
from collections import defaultdict
from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.partition.choice import keeps_destroyed
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.host import Host
from keyfold.replication.replica import Replica, Tools
from keyfold.replication.sealed import ClearSealer, DataKeySealer, Sealer
from keyfold.store.interface import Event

Row = Mapping[str, Any]


class Registry:
    """`rows`: partitions as declared in etcd, by name; `replicas`: those opened here. Thread-safe for readers."""

    def __init__(self, tools: Tools, host: Host) -> None:
        self._tools = tools
        self._host = host
        self._lock = threading.RLock()
        self._sealer: Sealer | None = None
        self._rows_at = 0
        # Set once every partition that etcd declares has been opened here.
        self.opened = threading.Event()
        self.cluster: dict[str, Any] | None = None
        self.rows: dict[str, Row] = {}
        self.replicas: dict[str, Replica] = {}

    def open_cluster(self) -> bool:
        """Replicate the system partition and take the data key out of it; False while there is no cluster yet."""
        with self._lock:
            if self._sealer is not None:
                return True
            item = self._tools.store.get(keys.CLUSTER)
            if item is None:
                return False
            cluster: dict[str, Any] = json.loads(item.value)
            self._host.check_cluster(cluster)
            row = self._tools.store.get(keys.partition(SYSTEM))
            if row is None:
                return False
            system: Row = json.loads(row.value)
            self._open(SYSTEM, system, ClearSealer()).reconcile()
            self._sealer = DataKeySealer(self._host.data_key(cluster["epoch"]), cluster["epoch"])
            self.cluster = cluster
            return True

    def reconcile_all(self) -> int:
        """Open every partition and compare it in full: level up to the revision returned, or it says its problem."""
        revision = self._read_rows()
        purged: dict[str, list[str]] = defaultdict(list)
        for item in self._tools.store.scan(keys.PURGED, revision=revision, keys_only=True):
            name, _, file = item.key.removeprefix(keys.PURGED).partition("/")
            purged[name].append(file)
        for replica in list(self.replicas.values()):
            replica.purged(purged[replica.name], these_alone=True)
            replica.level()
        self.opened.set()
        return revision

    def partitions_changed(self, events: Sequence[Event]) -> None:
        """Partitions were made, or their rows changed.

        All rows are read then: of a thousand partitions declared in a series of transactions, those that are in etcd
        by now are provisioned together, and the events that follow find nothing left to do.
        """
        stale = [event for event in events if event.value is not None and event.value.mod_revision > self._rows_at]
        if not stale:
            return
        before = set(self.replicas)
        self._read_rows()
        for name in set(self.replicas) - before:
            self.replicas[name].level()

    def _read_rows(self) -> int:
        scan = self._tools.store.scan(keys.PARTITIONS)
        self._declare({item.key.removeprefix(keys.PARTITIONS): json.loads(item.value) for item in scan})
        self._rows_at = scan.revision
        return scan.revision

    def replica(self, name: str, wait_seconds: float = 0) -> Replica:
        """KeyfoldError `not_found` names what does exist; `no_quorum`: this node has not learnt of any from etcd yet.

        An agent that has just started opens its partitions first; `wait_seconds` is how long to wait for that.
        """
        found = self.replicas.get(name)
        if found is None and not self.opened.wait(wait_seconds):
            raise KeyfoldError(
                "no_quorum",
                f"this node has not opened partition {name!r} yet: it has just started, or etcd does not answer",
                not_done="nothing was read or changed",
                next_step="keyfold status; then repeat the call",
            )
        found = self.replicas.get(name)
        if found is None:
            raise self._missing(name)
        return found

    def _missing(self, name: str) -> KeyfoldError:
        known = ", ".join(sorted(self.rows)) or "none"
        return KeyfoldError(
            "not_found",
            f"there is no partition {name!r} (there are: {known})",
            not_done="nothing was read or changed",
            next_step="keyfold partition list; declare it in the inventory and run playbooks/partition.yml",
        )

    def policy(self, name: str) -> Mapping[str, Any]:
        """What the partition allows, as this node last heard. KeyfoldError `not_found` as `replica`."""
        row = self.rows.get(name) or next((row for row in self._host.provisioned() if row["name"] == name), None)
        if row is None:
            raise self._missing(name)
        policy: Mapping[str, Any] = row["policy"]
        return policy

    def sealer(self, name: str) -> Sealer:
        """How objects of this partition are sealed. KeyfoldError `not_found` before genesis."""
        if self._sealer is None:
            raise KeyfoldError(
                "not_found",
                "this node has not joined a cluster yet",
                not_done="nothing was read or changed",
                next_step="run playbooks/site.yml; then keyfold status",
            )
        return ClearSealer() if name == SYSTEM else self._sealer

    def _declare(self, rows: Mapping[str, Row]) -> None:
        with self._lock:
            self._host.provision(list(rows.values()))
            self.rows = dict(rows)
            for name, row in rows.items():
                if name in self.replicas:
                    self.replicas[name].key_invalidation = keeps_destroyed(row)
                    self.replicas[name].max_size_bytes = _quota(row)
                else:
                    self._open(name, row, self.sealer(name))

    def _open(self, name: str, row: Row, sealer: Sealer) -> Replica:
        if name == SYSTEM:
            # With those known from before: until etcd has said which there are, their policies hold.
            kept = {known["name"]: known for known in self._host.provisioned()}
            self._host.provision(list({**kept, name: row}.values()))
        directory, locks = self._host.open_partition(name, row["token_uuid"])
        replica = Replica(
            name,
            directory,
            locks,
            sealer,
            self._tools,
            watch=partial(self._host.watch, name, row["token_uuid"]),
            key_invalidation=keeps_destroyed(row),
            max_size_bytes=_quota(row),
        )
        self.replicas[name] = replica
        return replica


def _quota(row: Row) -> int | None:
    """The system partition has none."""
    quota: int | None = row["policy"].get("max_size_bytes")
    return quota
