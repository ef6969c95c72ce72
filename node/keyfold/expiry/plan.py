"""Which sets go, which stay, and why. Pure: the same plan answers `keyfold-expire` and `keyfold backup list`.

Age counts from when the *store* received a set's manifest, by the store's own clock: the times inside a manifest are
the sender's word. A set that is old enough goes only if every partition in it has a newer verified copy.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from keyfold.backup.manifest import DAILY, SAFETY

# How long a set of each retention class is kept (design §2.3).
RETENTION: Mapping[str, timedelta] = {DAILY: timedelta(days=10), SAFETY: timedelta(days=10)}
# A collection without a manifest in which nothing happened for this long is what a broken run left behind.
ABANDONED = timedelta(days=3)

KEEP, EXPIRE, HOLD, IN_PROGRESS, CLEAN_UP = "keep", "expire", "hold", "in_progress", "clean_up"


@dataclass(frozen=True, slots=True)
class Candidate:
    """A set's collection as the store shows it.

    `received`: when its manifest arrived, None where there is none; `touched`: the newest time of anything in it.
    `sequence` is 0 and `problem` says why where the manifest cannot be believed. `verified`: manifest and all archives
    were checked and are good.
    """

    set_id: str
    received: datetime | None
    touched: datetime
    sequence: int = 0
    retention_class: str = ""
    partitions: tuple[str, ...] = ()
    verified: bool = False
    problem: str = ""


@dataclass(frozen=True, slots=True)
class Decision:
    """`action`: one of the words above; `due`: when it goes, None where no time alone decides; `reason` in words."""

    set_id: str
    action: str
    due: datetime | None
    reason: str


def plan(candidates: Iterable[Candidate], now: datetime, released: Collection[str] = ()) -> list[Decision]:
    """One decision for every candidate, in order of number; those without a genuine manifest come first.

    `released`: partitions whose last copies may go as well.
    """
    found = list(candidates)
    decisions: list[Decision] = []
    staying = ""
    for one in sorted(found, key=lambda one: (one.sequence, one.received or one.touched, one.set_id)):
        decision = _decide(one, found, now, frozenset(released))
        if decision.action == EXPIRE and staying:
            # A hole in the chain of manifests could not be told from a set that somebody took away.
            reason = f"the set {staying} before it stays, and the chain of manifests must have no hole"
            decision = Decision(one.set_id, HOLD, decision.due, reason)
        if one.sequence and decision.action != EXPIRE:
            staying = staying or one.set_id
        decisions.append(decision)
    return decisions


def is_due(candidate: Candidate, now: datetime) -> bool:
    """Whether it is old enough to go, if something newer takes its place."""
    due = _due(candidate)
    return due is not None and due <= now


def copies_needed(candidates: Sequence[Candidate], now: datetime, released: Collection[str] = ()) -> set[str]:
    """The partitions of which a newer verified copy has to be found before anything may go."""
    return {name for one in candidates if is_due(one, now) for name in one.partitions} - set(released)


def _due(candidate: Candidate) -> datetime | None:
    kept = RETENTION.get(candidate.retention_class)
    if candidate.received is None or kept is None or not candidate.sequence:
        return None
    return candidate.received + kept


def _decide(one: Candidate, found: Sequence[Candidate], now: datetime, released: frozenset[str]) -> Decision:
    if one.received is None:
        return _unfinished(one, now)
    due = _due(one)
    if due is None:
        unknown = f"its retention class {one.retention_class!r} is unknown here"
        return Decision(one.set_id, HOLD, None, one.problem or unknown)
    if now < due:
        return Decision(one.set_id, KEEP, due, "it is younger than its retention")
    missing = sorted(set(one.partitions) - _newer_copies(one, found) - released)
    if missing:
        reason = f"no newer verified set holds {', '.join(missing)}"
        return Decision(one.set_id, HOLD, due, reason)
    if not any(other.verified and other.sequence > one.sequence for other in found):
        return Decision(one.set_id, HOLD, due, "there is no newer verified set")
    return Decision(one.set_id, EXPIRE, due, "newer verified sets hold everything that is in it")


def _newer_copies(one: Candidate, found: Sequence[Candidate]) -> set[str]:
    newer = [other for other in found if other.verified and other.sequence > one.sequence]
    return {name for other in newer for name in other.partitions}


def _unfinished(one: Candidate, now: datetime) -> Decision:
    due = one.touched + ABANDONED
    if now < due:
        return Decision(one.set_id, IN_PROGRESS, due, "it has no manifest (yet)")
    return Decision(one.set_id, CLEAN_UP, due, "it has no manifest, and nothing was added to it any more")
