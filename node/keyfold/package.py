"""Service packages: what a subscriber ordered, as data (the role's `node_packages`; table: docs/packages.md)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any

_MECHANISM = re.compile(r"CKM_[A-Z0-9_]+")
# SoftHSM 2.6.1 reads softhsm2.conf in lines of at most this many bytes, and takes the rest of a longer one for another
# line: mechanisms beyond it would be lost without a word.
LONGEST_MECHANISMS_BYTES = 1000

# Of every partition, for its self-service: a person or a nightly job, not signing.
SELF_SERVICE_CONNECTIONS = 8


@dataclass(frozen=True, slots=True)
class Package:
    """The limits are those of one partition on one node; what bites where is in docs/packages.md.

    `max_size_bytes`: quota. `backup`: always, never or order. `mechanisms`: SoftHSM's names of those allowed, all if
    empty. `max_connections`: subscriber connections at once, each of them a process; `open_files`, `memory_bytes`
    (private writable memory) and `nice` are each process's; `cpu_weight`, `memory_max_bytes` and `tasks_max` bound all
    of them together, by cgroup. The defaults serve a partition whose package the configuration does not know.
    `restore_price`: of one chargeable restore, as text with its currency; "" where it is agreed otherwise.
    """

    name: str
    max_size_bytes: int
    backup: str
    mechanisms: tuple[str, ...] = ()
    max_connections: int = 16
    open_files: int = 256
    memory_bytes: int = 256 * 1024**2
    nice: int = 10
    cpu_weight: int = 50
    memory_max_bytes: int = 1024**3
    tasks_max: int = 32
    restore_price: str = ""


# The least and the most that systemd, Linux and HAProxy take.
_RANGES = {
    "max_size_bytes": (0, 2**63 - 1),
    "max_connections": (1, 100_000),
    "open_files": (64, 524_288),
    "memory_bytes": (64 * 1024**2, 2**63 - 1),
    "nice": (0, 19),
    "cpu_weight": (1, 10_000),
    "memory_max_bytes": (64 * 1024**2, 2**63 - 1),
    "tasks_max": (1, 1_000_000),
}


def parse_package(name: str, row: Mapping[str, Any]) -> Package:
    """A `[packages.<name>]` table of keyfold.toml; KeyError or ValueError says what is wrong with it."""
    known = {field.name for field in fields(Package)} - {"name"}
    if unknown := set(row) - known:
        raise ValueError(f"package {name}: unknown key {min(unknown)!r}; known: {', '.join(sorted(known))}")
    if row["backup"] not in ("always", "never", "order"):
        raise ValueError(f"package {name}: backup {row['backup']!r} is none of always, never, order")
    for key, (least, most) in _RANGES.items():
        if key in row and not (type(row[key]) is int and least <= row[key] <= most):
            raise ValueError(f"package {name}: {key} {row[key]!r} is no whole number from {least} to {most}")
    if not isinstance(row.get("restore_price", ""), str):
        raise ValueError(f"package {name}: restore_price {row['restore_price']!r} is no text, such as '120.00 EUR'")  # noqa: TRY004
    mechanisms = tuple(row.get("mechanisms", ()))
    for mechanism in mechanisms:
        if not isinstance(mechanism, str) or _MECHANISM.fullmatch(mechanism) is None:
            raise ValueError(f"package {name}: {mechanism!r} is no mechanism's name, such as CKM_ECDSA")
    if len(",".join(mechanisms)) > LONGEST_MECHANISMS_BYTES:
        raise ValueError(f"package {name}: more than {LONGEST_MECHANISMS_BYTES} bytes of a line are mechanisms")
    return Package(name=name, **{**row, "mechanisms": mechanisms, "max_size_bytes": row["max_size_bytes"]})
