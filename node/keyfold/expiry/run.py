"""Expire: look, judge the clock, plan, and only then remove. Where any of it fails, everything stays."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from keyfold.backup import manifest, sets
from keyfold.errors import KeyfoldError
from keyfold.expiry import plan as decide
from keyfold.expiry.clock_guard import Reading, objections
from keyfold.expiry.plan import Candidate, Decision
from keyfold.expiry.settings import Settings
from keyfold.expiry.state import State
from keyfold.expiry.survey import Survey, look, verified
from keyfold.remote import ExpirableRemote

_GOING = (decide.EXPIRE, decide.CLEAN_UP)


@dataclass(frozen=True, slots=True)
class Outcome:
    """`removed`: the sets that are gone (dry run: none); `newest_verified`: when the newest good set arrived."""

    decisions: tuple[Decision, ...]
    removed: tuple[str, ...]
    newest_verified: datetime | None

    @property
    def held(self) -> list[Decision]:
        return [one for one in self.decisions if one.action == decide.HOLD]


class Expiry:
    """`read_clocks` gives one reading of UTC, time since boot and which boot."""

    def __init__(
        self, remote: ExpirableRemote, settings: Settings, state: State, read_clocks: Callable[[], Reading]
    ) -> None:
        self._remote = remote
        self._settings = settings
        self._state = state
        self._read_clocks = read_clocks

    def run(self, *, dry_run: bool = False, accept_clock: bool = False) -> Outcome:
        """KeyfoldError `clock` if the clock cannot be believed; what the store raises when it does not answer."""
        cluster = self._settings.cluster
        seen = look(self._remote, cluster)
        now = self._read_clocks()
        if not accept_clock:
            self._judge_clock(now, seen)
        seen = verified(self._remote, cluster, seen, now.utc, self._settings.released)
        decisions = decide.plan(seen.candidates, now.utc, self._settings.released)
        removed: list[str] = []
        if not dry_run:
            self._state.remember(now)
            for decision in decisions:
                if decision.action in _GOING:
                    self._remove(decision)
                    removed.append(decision.set_id)
        return Outcome(tuple(decisions), tuple(removed), _newest_verified(seen.candidates))

    def _judge_clock(self, now: Reading, seen: Survey) -> None:
        reasons = objections(now, self._state.last_reading(), seen.newest, seen.arrival)
        if reasons:
            raise KeyfoldError(
                "clock",
                f"the clock of this machine cannot be believed: {'; '.join(reasons)}",
                not_done="nothing was removed from the store",
                next_step="check the clock (timedatectl) and set it right; if it is: keyfold-expire --accept-clock",
            )

    def _remove(self, decision: Decision) -> None:
        """The manifest first: from then on there is no set, whatever happens to the rest.

        What an interruption leaves has no manifest and is cleaned up as abandoned.
        """
        place = sets.collection(self._settings.cluster.uuid, decision.set_id)
        if decision.action == decide.EXPIRE:
            self._remote.remove(f"{place}/{manifest.NAME}")
        elif any(entry.name == manifest.NAME for entry in self._remote.list(place)):
            return  # finished since we looked: now it is a set
        self._remote.remove(place)


def _newest_verified(candidates: Sequence[Candidate]) -> datetime | None:
    return max((one.received for one in candidates if one.verified and one.received), default=None)
