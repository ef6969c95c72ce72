"""How declared partitions differ from those that are: pure, so check mode cannot lie."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.config import Package
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import check_name, full_policy
from keyfold.partition.recipient import canonical_recipient
from keyfold.partition.weaker import Direction, direction, package_direction

_KEYS = {"name", "package", "policy", "backup", "subscriber_key"}


@dataclass(frozen=True, slots=True)
class Change:
    """`before` and `after` hold package, policy, backup and the subscriber's public key.

    `direction`: which way policy and package change; those of a new partition in none.
    """

    name: str
    action: str  # create | update | none
    before: Mapping[str, Any]
    after: Mapping[str, Any]
    direction: Direction

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
    after: dict[str, Any] = {
        "package": package.name,
        "policy": full_policy(name, row.get("policy") or {}, package.max_size_bytes),
        "backup": backup is True if package.backup == "order" else package.backup == "always",
    }
    key = _subscriber_key(name, row.get("subscriber_key"), current)
    if key is not None:
        after["subscriber_key"] = key
    if current is None:
        return Change(name, "create", {}, after, Direction({}, {}, {}))
    before = {key: current[key] for key in after if key in current}
    way = direction(before["policy"], after["policy"]) | package_direction(packages.get(before["package"]), package)
    return Change(name, "none" if before == after else "update", before, after, way)


def _subscriber_key(name: str, declared: object, current: Mapping[str, Any] | None) -> str | None:
    """Needed to create: the first PIN is sealed to it. A partition that exists keeps the one it has by default."""
    if declared is None and current is not None:
        return current.get("subscriber_key")
    if declared is None:
        raise _invalid(
            f"partition {name} is new and has no subscriber_key: there is nobody to seal its PIN to",
            "declare the subscriber's age recipient or SSH public key (docs/runbooks/partition.md)",
        )
    try:
        return canonical_recipient(declared)
    except ValueError as error:
        raise _invalid(
            f"partition {name}: the subscriber_key cannot be used: {error}", "correct subscriber_key in the inventory"
        ) from None


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="no partition was created or changed", next_step=next_step)
