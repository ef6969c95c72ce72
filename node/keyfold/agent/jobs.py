"""Who runs a job of the backup site: one at a time in the whole cluster, by a key under a lease in etcd.

The command that runs the job holds it through three operations and not through a connection: the agent may restart
meanwhile. A command that was killed, or a node that is gone, gives the job back after LEASE_SECONDS.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from keyfold.agent.admin import administrator_only
from keyfold.agent.server import Caller, Operation, Reply
from keyfold.clock import Clock, stamp
from keyfold.config import Config
from keyfold.errors import KeyfoldError
from keyfold.jobs.hold import JOBS, LEASE_SECONDS
from keyfold.replication import keys
from keyfold.store.interface import Put, Store, Unchanged

_BACKUP = "backup"
# What a run is called, where that is not the job's own name.
_RUNS = {"media": "job on offline media"}


class Jobs:
    def __init__(self, config: Config, store: Store, clock: Clock) -> None:
        self._config = config
        self._store = store
        self._clock = clock

    def table(self) -> dict[str, Operation]:
        operations: dict[str, Operation] = {"job_begin": self.begin, "job_renew": self.renew, "job_end": self.end}
        return {name: administrator_only(operation) for name, operation in operations.items()}

    def begin(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        """`job`, `id` (the caller's own, random) → `lease`. KeyfoldError `conflict` says who runs it, since when."""
        job, run = _name(request["job"]), str(request["id"])
        self._require_backup_site(job)
        lease = self._store.grant(LEASE_SECONDS)
        row = {"id": run, "node": self._config.node, "started": stamp(self._clock.utc())}
        try:
            taken = self._store.txn(
                [Unchanged(keys.job(job), 0)], [Put(keys.job(job), json.dumps(row).encode(), lease)]
            )
        except BaseException:
            self._store.revoke(lease)
            raise
        if not taken.succeeded:
            self._store.revoke(lease)
            holder = taken.current[keys.job(job)]
            raise _running(job, {} if holder is None else json.loads(holder.value))
        return {"lease": lease}

    def renew(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        """`held`: whether the job is still that run's; if so for another LEASE_SECONDS."""
        held = self._held(_name(request["job"]), str(request["id"]))
        return {"held": held and self._store.keep_alive(int(request["lease"])) > 0}

    def end(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        """Give it back; fine if it is gone or somebody else's."""
        if self._held(_name(request["job"]), str(request["id"])):
            self._store.revoke(int(request["lease"]))
        return {}

    def _held(self, job: str, run: str) -> bool:
        item = self._store.get(keys.job(job))
        return item is not None and json.loads(item.value)["id"] == run

    def _require_backup_site(self, job: str) -> None:
        if self._config.site_role != _BACKUP:
            raise KeyfoldError(
                "invalid",
                f"the node {self._config.node} is not in the backup site: a {_run(job)} does not run here",
                not_done=f"no {_run(job)} was begun",
                next_step="run the command on a node of the backup site (keyfold status shows site roles)",
            )


def _name(job: str) -> str:
    if job not in JOBS:
        raise ValueError(f"{job!r} is no job")
    return job


def _run(job: str) -> str:
    return _RUNS.get(job, job)


def _running(job: str, holder: Mapping[str, str]) -> KeyfoldError:
    node = holder.get("node", "another node")
    return KeyfoldError(
        "conflict",
        f"a {_run(job)} is under way on {node} since {holder.get('started', 'just now')}",
        not_done=f"no second {_run(job)} was begun",
        next_step=f"wait for it (on {node}: systemctl status keyfold-{job}); if that node is lost, "
        f"its hold ends within {LEASE_SECONDS} s",
    )
