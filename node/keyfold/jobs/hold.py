"""Hold a job of the cluster while a command does it (docs/interfaces.md §3, `job_begin`)."""

from __future__ import annotations

import secrets
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import Any, Protocol

from keyfold.clock import Clock
from keyfold.errors import KeyfoldError

JOBS = ("backup", "drill", "media")
LEASE_SECONDS = 60
_RENEW_SECONDS = 15.0
# What is left of the lease when something irrevocable begins.
_MARGIN_SECONDS = 15.0


class Agent(Protocol):
    def call(self, op: str, **params: Any) -> dict[str, Any]: ...


class Hold:
    """`require` before what two runs must not both do."""

    def __init__(self, agent: Agent, clock: Clock, job: str) -> None:
        self._agent = agent
        self._clock = clock
        self._job = job
        self._id = secrets.token_hex(16)
        # Counted from before the question: the lease is at least as long.
        self._until = clock.monotonic() + LEASE_SECONDS
        self._lease: int = agent.call("job_begin", job=job, id=self._id)["lease"]
        self._lost = False

    def renew(self) -> None:
        """Once more for LEASE_SECONDS. An agent that does not answer may answer the next time."""
        until = self._clock.monotonic() + LEASE_SECONDS
        with suppress(KeyfoldError):
            if self._agent.call("job_renew", job=self._job, id=self._id, lease=self._lease)["held"]:
                self._until = until
            else:
                self._lost = True

    def require(self) -> None:
        """KeyfoldError `conflict` unless the job is certainly still this run's, and for some seconds more."""
        self.renew()
        if self._lost or self._until - self._clock.monotonic() < _MARGIN_SECONDS:
            raise KeyfoldError(
                "conflict",
                f"this {self._job} lost its place: it could not tell etcd for {LEASE_SECONDS} s that it is under way",
                not_done=f"this {self._job} was not finished; what it made so far does not count",
                next_step=f"keyfold status; then run: keyfold {self._job} run",
            )

    def end(self) -> None:
        with suppress(KeyfoldError):
            self._agent.call("job_end", job=self._job, id=self._id, lease=self._lease)


@contextmanager
def held(agent: Agent, clock: Clock, job: str) -> Iterator[Hold]:
    """Hold `job` inside the block. KeyfoldError `conflict`, before anything is done, names who holds it."""
    hold = Hold(agent, clock, job)
    ended = threading.Event()

    def keep() -> None:
        while not ended.wait(_RENEW_SECONDS):
            hold.renew()

    thread = threading.Thread(target=keep, name=f"hold-{job}", daemon=True)
    thread.start()
    try:
        yield hold
    finally:
        ended.set()
        thread.join()
        hold.end()
