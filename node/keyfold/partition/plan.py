"""How declared partitions differ from those that are: pure, so check mode cannot lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from keyfold.config import Package
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import check_name, check_pin, full_policy
from keyfold.partition.weaker import Direction, direction

_KEYS = {"name", "package", "policy", "backup", "initial_pin", "initial_so_pin"}


@dataclass(frozen=True, slots=True)
class Change:
    """`before` and `after` hold package, policy and backup; PINs are apart, and in no representation."""

    name: str
    action: str  # create | update | none
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    pin: str = field(default="", repr=False)
    so_pin: str = field(default="", repr=False)

    @property
    def direction(self) -> Direction:
        """Which way the policy changes; a new partition's changes in no direction."""
        return direction(self.before.get("policy", self.after["policy"]), self.after["policy"])

    @property
    def policy_differs(self) -> bool:
        return bool(self.before) and self.before["policy"] != self.after["policy"]

    @property
    def needs_approval(self) -> bool:
        return bool(self.direction.weaker)

    def as_reply(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "action": self.action,
            "before": dict(self.before),
            "after": dict(self.after),
            "weaker": dict(self.direction.weaker),
            "needs_approval": self.needs_approval,
        }


def plan(
    declared: Sequence[Mapping[str, Any]],
    current: Mapping[str, Mapping[str, Any]],
    packages: Mapping[str, Package],
) -> list[Change]:
    """One Change per declared partition, in the order declared; `current` are the rows in etcd by name.

    Raises KeyfoldError `invalid` before anything is planned if any declaration is wrong.
    """
    seen: set[str] = set()
    changes = []
    for row in declared:
        name = check_name(row.get("name"))
        if name in seen:
            raise _invalid(f"the partition {name} is declared twice", "declare it once")
        seen.add(name)
        changes.append(_change(name, row, current.get(name), packages))
    return changes


def _change(
    name: str, row: Mapping[str, Any], current: Mapping[str, Any] | None, packages: Mapping[str, Package]
) -> Change:
    unknown = set(row) - _KEYS
    if unknown:
        raise _invalid(f"partition {name}: unknown key {min(unknown)!r}", f"known: {sorted(_KEYS)}")
    package = packages.get(str(row.get("package")))
    if package is None:
        raise _invalid(
            f"partition {name}: there is no package {row.get('package')!r}", f"use one of {sorted(packages)}"
        )
    backup = row.get("backup")
    if backup is not None and package.backup != "order":
        raise _invalid(
            f"partition {name}: package {package.name} has backup '{package.backup}', it is not ordered",
            "remove 'backup' from the declaration",
        )
    after = {
        "package": package.name,
        "policy": full_policy(name, row.get("policy") or {}, package.max_size_bytes),
        "backup": backup is True if package.backup == "order" else package.backup == "always",
    }
    if current is None:
        return Change(
            name,
            "create",
            {},
            after,
            pin=check_pin(name, "initial_pin", row.get("initial_pin")),
            so_pin=check_pin(name, "initial_so_pin", row.get("initial_so_pin")),
        )
    before = {key: current[key] for key in after}
    return Change(name, "none" if before == after else "update", before, after)


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="no partition was created or changed", next_step=next_step)
