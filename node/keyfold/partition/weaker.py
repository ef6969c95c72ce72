"""Which way a policy or package changes: weaker needs officers' approval, stronger does not (docs/policy.md). Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from keyfold.package import Package
from keyfold.partition.policy import DEFAULT_POLICY

Value = bool | int
KIND = "policy"
PACKAGE = "package"


@dataclass(frozen=True, slots=True)
class Direction:
    """What changes, with its new values: keys of the policy, `package`. `neutral`: neither protects more nor less."""

    weaker: Mapping[str, Value | str]
    stronger: Mapping[str, Value | str]
    neutral: Mapping[str, Value | str]

    def __or__(self, other: Direction) -> Direction:
        return Direction(
            {**self.weaker, **other.weaker}, {**self.stronger, **other.stronger}, {**self.neutral, **other.neutral}
        )


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


def package_direction(before: Package | None, after: Package) -> Direction:
    """A package's mechanisms are a protection, the rest of it is an order.

    A package that names none has all of them, as has one that the configuration knows no longer (`before` None).
    """
    old, new = set(before.mechanisms if before else ()), set(after.mechanisms)
    changed = {} if before == after else {PACKAGE: after.name}
    if old == new:
        return Direction({}, {}, changed)
    narrower = bool(new) and (not old or new < old)
    return Direction({}, changed, {}) if narrower else Direction(changed, {}, {})


def subject(weaker: Mapping[str, Value | str]) -> dict[str, object]:
    """What the officers' request of kind `policy` must contain: what is weakened with its new values, nothing else."""
    package = {key: value for key, value in weaker.items() if key == PACKAGE}
    policy = {key: weaker[key] for key in sorted(weaker) if key != PACKAGE}
    return {**package, **({"policy": policy} if policy else {})}


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
    return -float(value)


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
