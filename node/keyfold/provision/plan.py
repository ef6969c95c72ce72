"""What partitions need on a node: files as text, links, names of units. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keyfold.package import Package
from keyfold.partition.policy import SYSTEM, check_name
from keyfold.provision import subscriber, templates

UNIT_DIRECTORY = Path("/etc/systemd/system")
# Not in /etc/sysusers.d: there its range would be every package's at the next boot.
SYSUSERS = Path("/etc/keyfold/partitions.sysusers")
# System users have fewer than 900 numbers between them on Debian, which about 950 partitions use up. These are the last
# of those for ordinary users, which adduser takes from the other end, and below 65536, where the agent may act on them.
UIDS = "50000-59999"
HAPROXY = Path("/etc/haproxy/keyfold-partitions.cfg")
MODULE = "keyfold-pkcs11.so"
PREFIX = "keyfold-partition-"
# All partitions' slices are below this one.
SLICE = "keyfold-partition"


def user(partition: str) -> str:
    """The system user whose processes serve the partition."""
    return f"kf-{partition}"


def socket_unit(partition: str) -> str:
    return f"{PREFIX}{partition}.socket"


def slice_unit(partition: str) -> str:
    """A dash in a slice's name means "below": unescaped, partition `a-b` would count against partition `a`."""
    return f"{SLICE}-{subscriber.escaped(partition)}.slice"


def packages(rows: Iterable[Mapping[str, Any]], known: Mapping[str, Package]) -> dict[str, Package]:
    """Subscribers' partitions and their packages; the system partition has no user, socket or backend.

    A partition whose package is not configured any more goes on, with a package's least limits.
    """
    ordered = {check_name(row["name"]): str(row.get("package")) for row in rows if row["name"] != SYSTEM}
    return {name: known.get(ordered[name], Package(ordered[name], 0, "never")) for name in sorted(ordered)}


def files(partitions: Mapping[str, Package], state: Path, *, haproxy: bool, socket_group: str) -> dict[Path, str]:
    """Path → content of everything this node's partitions need."""
    wanted = {SYSUSERS: f"r - {UIDS}\n" + "".join(_sysuser(name, state) for name in partitions)}
    if haproxy:
        wanted[HAPROXY] = "".join(
            _backend(name, package) + subscriber.backend(name) for name, package in partitions.items()
        )
    for name, package in partitions.items():
        wanted[UNIT_DIRECTORY / socket_unit(name)] = templates.SOCKET.format(
            name=name, group=socket_group, max_connections=package.max_connections
        )
        wanted[UNIT_DIRECTORY / f"{PREFIX}{name}@.service"] = templates.SERVICE.format(
            name=name,
            user=user(name),
            home=state / "partitions" / name,
            module=MODULE,
            slice=slice_unit(name),
            nice=package.nice,
            open_files=package.open_files,
            memory_bytes=package.memory_bytes,
        )
        wanted[UNIT_DIRECTORY / slice_unit(name)] = templates.SLICE.format(
            name=name,
            cpu_weight=package.cpu_weight,
            memory_max_bytes=package.memory_max_bytes,
            tasks_max=package.tasks_max,
        )
    return wanted


def links(partitions: Iterable[str], *, haproxy: bool) -> dict[Path, Path]:
    """Link → target: what `systemctl enable` would make, which takes a second per hundred sockets."""
    wants = UNIT_DIRECTORY / "sockets.target.wants"
    enabled = {wants / socket_unit(name): UNIT_DIRECTORY / socket_unit(name) for name in partitions}
    if haproxy:
        enabled |= {wants / subscriber.socket_unit(name): subscriber.TEMPLATE for name in partitions}
    return enabled


def _sysuser(name: str, state: Path) -> str:
    return f'u {user(name)} - "Keyfold partition {name}" {state}/partitions/{name}\n'


def _backend(name: str, package: Package) -> str:
    return templates.BACKEND.format(name=name, max_connections=package.max_connections)
