"""When invalidated objects expire: decided so that no wrong clock destroys anything. Pure.

A run writes down etcd's revision and the time ("point"). An object expires when a point that is old enough has it: then
etcd held it that long ago, whatever the clock of the node that destroyed it said.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyfold.clock import stamp
from keyfold.invalidation.entry import Entry
from keyfold.json_bytes import compact

# Clocks of nodes may differ by this much, a heartbeat's pause included.
TOLERANCE = timedelta(minutes=5)
# Longer than this without a run, and a person confirms that the time is right.
MAX_PAUSE = timedelta(days=7)
# How long a purge is remembered: a node that was away for longer is set up anew.
REMEMBER_PURGED_DAYS = 400
_POINT_EVERY = timedelta(days=1)
_MAX_POINTS = 1000


@dataclass(frozen=True, slots=True)
class Point:
    revision: int
    at: datetime


@dataclass(frozen=True, slots=True)
class State:
    """What runs leave in etcd."""

    ran_at: datetime
    points: tuple[Point, ...]

    def encode(self) -> bytes:
        points = [[point.revision, stamp(point.at)] for point in self.points]
        return compact({"ran_at": stamp(self.ran_at), "points": points})


def decode(value: bytes) -> State:
    row = json.loads(value)
    return State(
        datetime.fromisoformat(row["ran_at"]),
        tuple(Point(revision, datetime.fromisoformat(at)) for revision, at in row["points"]),
    )


def clock_problem(
    now: datetime, before: State | None, others: Mapping[str, datetime], nodes: int, *, accept_pause: bool
) -> str:
    """Why `now` is not to be believed, or nothing. `others`: what live nodes' clocks said within the last minute.

    A majority of all `nodes`, this one included, must agree with it.
    """
    agreeing = 1 + sum(1 for at in others.values() if abs(now - at) <= TOLERANCE)
    if agreeing * 2 <= nodes:
        seen = ", ".join(f"{name} {stamp(at)}" for name, at in sorted(others.items())) or "none"
        return f"only {agreeing} of {nodes} nodes agree that it is {stamp(now)} (other nodes: {seen})"
    if before is not None and now < before.ran_at - TOLERANCE:
        return f"the last run was at {stamp(before.ran_at)}, and now it is {stamp(now)}: the clock went back"
    if before is not None and not accept_pause and now - before.ran_at > MAX_PAUSE:
        return (
            f"the last run was at {stamp(before.ran_at)}, more than {MAX_PAUSE.days} days before {stamp(now)}: "
            "either the cluster was away or the clocks jumped"
        )
    return ""


def proven(state: State | None, now: datetime, days: int) -> int:
    """The newest revision that etcd had reached `days` ago, 0 if none is known."""
    if state is None:
        return 0
    cutoff = now - timedelta(days=days)
    return max((point.revision for point in state.points if point.at <= cutoff), default=0)


def due(entries: Iterable[Entry], state: State | None, now: datetime, days: int) -> list[Entry]:
    """The objects that have been invalidated for `days` at least; none if `days` is 0."""
    if days == 0:
        return []
    known, cutoff = proven(state, now, days), now - timedelta(days=days)
    return [one for one in entries if one.revision <= known and datetime.fromisoformat(one.invalidated_at) <= cutoff]


def expires_at(invalidated_at: str, days: int) -> str | None:
    """RFC 3339, or None for never."""
    if not days or not invalidated_at:
        return None
    return stamp(datetime.fromisoformat(invalidated_at) + timedelta(days=days))


def after_run(state: State | None, now: datetime, revision: int) -> State:
    """With this run written down: a point a day, older ones thinned out."""
    points = () if state is None else state.points
    if not points or now - points[-1].at >= _POINT_EVERY:
        points = (*points, Point(revision, now))
    return State(now, _thinned(points))


def _thinned(points: Sequence[Point]) -> tuple[Point, ...]:
    if len(points) <= _MAX_POINTS:
        return tuple(points)
    half = len(points) // 2
    return (*points[:half:2], *points[half:])
