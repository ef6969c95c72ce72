"""Which way a policy changes: weaker needs the officers' approval, stronger does not (docs/policy.md). Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyfold.partition.policy import DEFAULT_POLICY

Value = bool | int
KIND = "policy"


@dataclass(frozen=True, slots=True)
class Direction:
    """The keys that change, with their new values. `neutral`: neither protects more nor less."""

    weaker: Mapping[str, Value]
    stronger: Mapping[str, Value]
    neutral: Mapping[str, Value]


def direction(before: Mapping[str, Value], after: Mapping[str, Value]) -> Direction:
    """Both are full policies; a key that a row of an older version lacks counts as its default."""
    weaker, stronger, neutral = dict[str, Value](), dict[str, Value](), dict[str, Value]()
    for key, new in after.items():
        old = before.get(key, DEFAULT_POLICY.get(key, new))
        if old == new:
            continue
        protects = _PROTECTION.get(key)
        if protects is None:
            neutral[key] = new
        elif protects(new) < protects(old):
            weaker[key] = new
        else:
            stronger[key] = new
    return Direction(weaker, stronger, neutral)


def subject(weaker: Mapping[str, Value]) -> dict[str, object]:
    """What the officers' request of kind `policy` must contain: the weakened keys with their new values, no others."""
    return {"policy": {key: weaker[key] for key in sorted(weaker)}}


def _when_false(value: Value) -> float:
    return float(not value)


def _when_true(value: Value) -> float:
    return float(value)


def _more(value: Value) -> float:
    return float(value)


def _more_or_never(value: Value) -> float:
    """0 days: an invalidated object never expires."""
    return float(value) or math.inf


def _fewer(value: Value) -> float:
    """0 failures would lock nobody ever."""
    return -(float(value) or math.inf)


# How much a value protects the subscriber's keys. The quota is not here: it is what was ordered, not a protection.
_PROTECTION: Mapping[str, Callable[[Value], float]] = {
    "key_import": _when_false,
    "key_export": _when_false,
    "key_extract": _when_false,
    "key_invalidation": _when_true,
    "read_only": _when_true,
    "session_objects": _when_false,
    "destroy_objects": _when_false,
    "use_objects": _when_false,
    "client_api_access": _when_false,
    "invalidation_days": _more_or_never,
    "max_failures": _fewer,
    "window_seconds": _more,
    "lock_seconds": _more,
}
