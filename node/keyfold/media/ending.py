"""End a medium's key for good, on every node and in etcd's history, and have it certified (`keyfold.agent.media`)."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from keyfold.backup.cluster import Agent, ClusterState
from keyfold.backup.manifest import DAILY
from keyfold.clock import Clock, stamp
from keyfold.expiry.plan import RETENTION
from keyfold.media.certificate import FORMAT, Certificate, signed
from keyfold.media.register import RECORD_KIND, Destroyed, Medium, of_row, of_rows

JOB = "media"
_WAIT_SECONDS = 60.0
_POLL_SECONDS = 0.2

Sign = Callable[[bytes, int], bytes]


@dataclass(frozen=True, slots=True)
class Ended:
    """`outstanding`: why there is no certificate yet, or "". The key is destroyed either way."""

    medium: Medium
    outstanding: str


def register(agent: Agent) -> list[Medium]:
    """Oldest first."""
    return of_rows(ClusterState(agent).records(RECORD_KIND))


class Ending:
    """`sign(message, epoch)`: with the cluster's manifest key. To be used under the job `media`."""

    def __init__(self, agent: Agent, sign: Sign, clock: Clock) -> None:
        self._agent = agent
        self._cluster = ClusterState(agent)
        self._sign = sign
        self._clock = clock

    def end(self, medium: Medium, because: str, **asked: str) -> Ended:
        """Destroy its key, or go on with what an earlier run began. `asked`: `by`, `ticket`, `reason`.

        KeyfoldError `refused`: it is not due, or the clocks cannot be believed; the agent's.
        """
        reply = self._agent.call("medium_destroy", id=medium.id, because=because, **asked)
        if problem := self._behind(int(reply["revision"])):
            return Ended(of_row(reply["medium"]), problem)
        reply = self._agent.call("medium_forget", id=medium.id)
        gone, revision = of_row(reply["medium"]), int(reply["revision"])
        problem = self._behind(revision)
        if not problem and reply["history"]:
            member, reason = next(iter(reply["history"].items()))
            problem = f"etcd's history is not taken out of member {member} yet: {reason}"
        if problem:
            return Ended(gone, problem)
        document = self._certificate(gone, revision)
        reply = self._agent.call("medium_certify", id=medium.id, certificate=document.decode("ascii"))
        return Ended(of_row(reply["medium"]), "")

    def _behind(self, revision: int) -> str:
        """Which nodes have not followed: those that are up are waited for."""
        deadline = self._clock.monotonic() + _WAIT_SECONDS
        while True:
            _, rows = self._cluster.nodes()
            behind = [row for row in rows if row["agent"] != "up" or row["applied_revision"] < revision]
            waiting = any(row["agent"] == "up" for row in behind)
            if not waiting or self._clock.monotonic() >= deadline:
                names = ", ".join(row["name"] for row in behind)
                return f"its key may still be on {names}, which has not followed yet" if names else ""
            self._clock.sleep(_POLL_SECONDS)

    def _certificate(self, medium: Medium, revision: int) -> bytes:
        cluster = self._cluster.identity()
        destroyed = medium.destroyed
        if destroyed is None:
            raise AssertionError("a medium that is destroyed says why")
        _, nodes = self._cluster.nodes()
        made = Certificate(
            format=FORMAT,
            cluster_uuid=cluster.uuid,
            signing_key_fingerprint=cluster.signing_key_fingerprint,
            medium=medium.id,
            name=medium.name,
            device=medium.device,
            key_fingerprint=medium.key_fingerprint,
            set_id=medium.set_id,
            created=medium.created,
            destroyed=destroyed.at,
            because=destroyed.because,
            by=destroyed.by,
            ticket=destroyed.ticket,
            revision=revision,
            nodes=tuple(sorted(row["name"] for row in nodes)),
            last_copy=stamp(_last_copy(destroyed)),
            certified=stamp(self._clock.utc()),
        )
        return signed(made, lambda body: self._sign(body, cluster.backup_epoch))


def _last_copy(destroyed: Destroyed) -> datetime:
    return datetime.fromisoformat(destroyed.at) + RETENTION[DAILY]


def as_reply(ended: Ended) -> dict[str, Any]:
    return {"medium": ended.medium.as_row(), "outstanding": ended.outstanding or None}
