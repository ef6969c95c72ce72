"""Write an offline medium: key, file system, backup set, read back; a medium that counts, or none (design §2.5)."""

from __future__ import annotations

import io
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

from keyfold.backup.cluster import Agent, ClusterState, Partition
from keyfold.backup.manifest import Manifest
from keyfold.backup.plan import named
from keyfold.backup.run import Backup, Sealing, Turn, turn
from keyfold.clock import Clock
from keyfold.config import Config
from keyfold.errors import KeyfoldError
from keyfold.media import readme
from keyfold.media.block import Block
from keyfold.media.device import Allowed, Device, check, check_stable
from keyfold.media.ending import JOB, Ending, Sign, register
from keyfold.media.look import checked_set
from keyfold.media.register import FAILED, Medium, check_new, of_row
from keyfold.remote import Remote


@dataclass(frozen=True, slots=True)
class Wish:
    """What a person asks for; `by`: who it is."""

    name: str
    device: str
    partitions: tuple[str, ...]
    ticket: str
    reason: str
    by: str
    allowed: Allowed


@dataclass(frozen=True, slots=True)
class WritePlan:
    """`device` as it is now, `partitions` that would be on it."""

    device: Device
    partitions: tuple[Partition, ...]


class Writing:
    """`backup(remote)`: what makes backup sets, into that place."""

    def __init__(
        self, agent: Agent, block: Block, backup: Callable[[Remote], Backup], sign: Sign, config: Config, clock: Clock
    ) -> None:
        self._agent = agent
        self._cluster = ClusterState(agent)
        self._block = block
        self._backup = backup
        self._sign = sign
        self._config = config
        self._clock = clock

    def plan(self, wish: Wish) -> WritePlan:
        """Look, change nothing. KeyfoldError `invalid`, `not_found`, `refused`, `conflict`: why it cannot be made."""
        check_stable(wish.device)
        check_new(wish.name, wish.device, register(self._agent))
        partitions = named(self._cluster.partitions(), wish.partitions)
        device = self._block.look(wish.device)
        check(device, sum(one.live_bytes + 2048 * one.objects for one in partitions), wish.allowed)
        return WritePlan(device, tuple(partitions))

    def write(self, wish: Wish) -> Medium:
        """The medium, when it was written and read back from the device.

        Errors as `plan`, and of what failed: then the key is destroyed again, and the error says so.
        """
        with self._cluster.hold(JOB, self._clock), turn(self._cluster, self._config, self._clock) as ours:
            self.plan(wish)
            now = self._clock.utc().astimezone(UTC)
            asked = {"name": wish.name, "device": wish.device, "partitions": list(wish.partitions)}
            why = {"ticket": wish.ticket, "reason": wish.reason, "by": wish.by}
            medium = f"{now:%Y%m%d}-{secrets.token_hex(4)}"
            begun = of_row(self._agent.call("medium_begin", id=medium, **asked, **why)["medium"])
            try:
                return self._filled(begun, ours)
            except BaseException as error:
                self._undo(begun, error)
                raise

    def _filled(self, medium: Medium, ours: Turn) -> Medium:
        self._block.format(medium.device)
        with self._block.opened(medium.device, writable=True) as remote:
            sealing = Sealing(medium.recipient, medium.key_fingerprint)
            made = self._backup(remote).run_for_medium(ours, medium.partitions, sealing)
            self._explain(remote, medium, made)
        # Mounted anew, so that it is the device that is read.
        with self._block.opened(medium.device) as remote:
            stored = checked_set(remote, self._cluster.identity(), medium)
        reply = self._agent.call(
            "medium_written", id=medium.id, set_id=stored.set_id, manifest_sha256=stored.manifest_sha256
        )
        return of_row(reply["medium"])

    def _explain(self, remote: Remote, medium: Medium, made: Manifest) -> None:
        body = readme.text(medium, self._config.cluster_name, self._config.cluster_uuid, made.set_id)
        remote.put_new(readme.NAME, io.BytesIO(body), len(body))

    def _undo(self, medium: Medium, error: BaseException) -> None:
        """The key goes; KeyfoldErrors are told anew, for what they say is of backups in the store."""
        because = error.what if isinstance(error, KeyfoldError) else type(error).__name__
        ending = Ending(self._agent, self._sign, self._clock)
        try:
            ending.end(medium, FAILED, by=medium.by, ticket=medium.ticket, reason=because)
            undone = "its key is destroyed again"
        except KeyfoldError as second:
            undone = f"its key is not destroyed yet ({second.what}): the next keyfold media expire does it"
        if isinstance(error, KeyfoldError):
            raise KeyfoldError(
                error.code,
                f"medium {medium.id} ({medium.name}) on {medium.device}: {because}",
                not_done=f"there is no such medium; {undone}; what was on the device is lost",
                next_step="keyfold media write again, with another device if this one failed",
            ) from error
