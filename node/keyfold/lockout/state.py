"""Failed logins of one user of one partition: a sliding window, and a lock. Pure; times are monotonic seconds.

In etcd stand ages instead of times, so that what one node writes means the same on another whose clock is wrong.
"""

from __future__ import annotations

import json
from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from keyfold.clock import stamp
from keyfold.json_bytes import compact
from keyfold.replication import keys
from keyfold.store.interface import KeyValue

USERS = ("user", "so")


@dataclass(frozen=True, slots=True)
class Limits:
    """`max_failures` within `window_seconds` lock for `lock_seconds`; all are 1 or more."""

    max_failures: int
    window_seconds: int
    lock_seconds: int

    @classmethod
    def of(cls, policy: Mapping[str, Any]) -> Limits:
        return cls(policy["max_failures"], policy["window_seconds"], policy["lock_seconds"])


@dataclass(frozen=True, slots=True)
class Failures:
    """`when`: how many logins failed in which second, oldest first; `locked_until` 0: not locked.

    A successful login takes nothing away: it would let a guesser who has one PIN clear the count of another's guesses.
    """

    when: tuple[tuple[float, int], ...] = ()
    locked_until: float = 0.0

    def recent(self, now: float, limits: Limits) -> int:
        return sum(count for moment, count in self.when if now - moment < limits.window_seconds)

    def locked_for(self, now: float, limits: Limits) -> float:
        """Seconds until another login may be tried; 0 if it may now.

        A lock shorter than the window lets in nobody before the window has room.
        """
        wait, left = max(self.locked_until - now, 0.0), self.recent(now, limits)
        for moment, count in self.when:
            if left < limits.max_failures:
                break
            if now - moment < limits.window_seconds:
                wait = max(wait, moment + limits.window_seconds - now)
                left -= count
        return wait

    def failed(self, now: float, limits: Limits) -> Failures:
        """After one more failure; locked if it was the one too many."""
        counts: dict[float, int] = defaultdict(int)
        for moment, count in (*self.when, (now, 1)):
            if now - moment < limits.window_seconds:
                counts[float(int(moment))] += count
        after = Failures(tuple(sorted(counts.items())), self.locked_until)
        if after.recent(now, limits) >= limits.max_failures and self.locked_until <= now:
            return Failures(after.when, now + limits.lock_seconds)
        return after

    def with_(self, others: Iterable[tuple[float, int]]) -> Failures:
        return Failures(tuple(sorted((*self.when, *others))), self.locked_until)


def encode(failures: Failures, now: float, utc: datetime) -> bytes:
    """`at`: when this was written; ages in milliseconds before it, `locked_ms` after it."""
    row = {
        "at": stamp(utc),
        "failures": [[round((now - moment) * 1000), count] for moment, count in failures.when],
        "locked_ms": round(max(failures.locked_until - now, 0.0) * 1000),
    }
    return compact(row)


def decode(value: bytes, now: float, written_ago: float = 0.0) -> Failures:
    """On this node's clock, where the value was written `written_ago` seconds before `now`."""
    row = json.loads(value)
    written = now - written_ago
    when = tuple((written - age / 1000, count) for age, count in row["failures"])
    return Failures(when, written + row["locked_ms"] / 1000 if row["locked_ms"] else 0.0)


def written_ago(value: bytes, utc: datetime) -> float:
    """Seconds since the value was written, by the wall clock and so only as good as it; never negative."""
    return max((utc - datetime.fromisoformat(json.loads(value)["at"])).total_seconds(), 0.0)


def locked(items: Iterable[KeyValue], utc: datetime) -> dict[str, dict[str, str]]:
    """Partition → user → locked until (RFC 3339), for show; only those locked at `utc`."""
    found: dict[str, dict[str, str]] = {}
    for item in items:
        name, _, user = item.key.removeprefix(keys.LOGINS).partition("/")
        row = json.loads(item.value)
        until = datetime.fromisoformat(row["at"]) + timedelta(milliseconds=row["locked_ms"])
        if row["locked_ms"] and until > utc:
            found.setdefault(name, {})[user] = stamp(until)
    return found
