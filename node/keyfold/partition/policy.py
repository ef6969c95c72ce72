"""Names and policies of partitions, and what is refused about them (design §2)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from keyfold.errors import KeyfoldError

NAME = re.compile(r"[a-z][a-z0-9-]{0,26}[a-z0-9]")
SYSTEM = "system"

DEFAULT_POLICY: Mapping[str, bool | int] = {
    "key_import": True,
    "key_export": False,
    "key_extract": False,
    "key_invalidation": True,
    "read_only": False,
    "session_objects": True,
    "destroy_objects": True,
    "use_objects": True,
    "client_api_access": True,
    "invalidation_days": 90,
    "max_failures": 100,
    "window_seconds": 300,
    "lock_seconds": 300,
}

# A lock that never comes, or ends at once, is none; a partition without one cannot be declared.
_POSITIVE = frozenset({"max_failures", "window_seconds", "lock_seconds"})

_NOTHING = "no partition was created or changed"


def check_name(name: object) -> str:
    """The name itself, or KeyfoldError `invalid`."""
    if not isinstance(name, str) or NAME.fullmatch(name) is None:
        raise _invalid(
            f"the partition name {name!r} is not allowed",
            "use 2 to 28 characters: a lower-case letter, then letters, digits or '-', not ending in '-'",
        )
    if name == SYSTEM:
        raise _invalid("the partition name 'system' is the cluster's own", "choose another name")
    return name


def full_policy(name: str, declared: Mapping[str, Any], package_bytes: int) -> dict[str, bool | int]:
    """Defaults filled in; unknown keys, wrong types and contradictions are refused by name."""
    defaults = {**DEFAULT_POLICY, "max_size_bytes": package_bytes}
    for key, value in declared.items():
        if key not in defaults:
            raise _invalid(f"partition {name}: the policy has no {key!r}", f"known: {', '.join(defaults)}")
        least = int(key in _POSITIVE)
        if type(value) is not type(defaults[key]) or (type(value) is int and value < least):
            kind = "true or false" if isinstance(defaults[key], bool) else f"a whole number, {least} or more"
            raise _invalid(f"partition {name}: policy {key} must be {kind}", f"correct {key} in the inventory")
    policy = {**defaults, **declared}
    if policy["max_size_bytes"] > package_bytes:
        raise _invalid(
            f"partition {name}: max_size_bytes {policy['max_size_bytes']} is more than its package's {package_bytes}",
            "lower max_size_bytes, or order a larger package",
        )
    for left, right, reason in _CONTRADICTIONS:
        if policy[left[0]] == left[1] and policy[right[0]] == right[1] and left[0] in declared:
            raise _invalid(
                f"partition {name}: {left[0]}={left[1]} contradicts {right[0]}={right[1]}: {reason}",
                f"correct {left[0]} or {right[0]} in the inventory",
            )
    return policy


_CONTRADICTIONS: tuple[tuple[tuple[str, bool], tuple[str, bool], str], ...] = (
    (("key_export", True), ("key_extract", False), "what may leave in plain may leave wrapped"),
    (("key_import", True), ("read_only", True), "nothing can be imported into a read-only partition"),
    (("destroy_objects", True), ("read_only", True), "nothing can be destroyed in a read-only partition"),
    (("key_export", True), ("client_api_access", False), "nothing can leave through an API that is closed"),
)


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done=_NOTHING, next_step=next_step)
