"""The files that partitions need on a node, as text. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from keyfold.partition.policy import SYSTEM, check_name
from keyfold.provision import subscriber

UNIT_DIRECTORY = Path("/etc/systemd/system")
SYSUSERS = Path("/etc/sysusers.d/keyfold-partitions.conf")
HAPROXY = Path("/etc/haproxy/keyfold-partitions.cfg")
MODULE = "keyfold-pkcs11.so"
PREFIX = "keyfold-partition-"


def user(partition: str) -> str:
    """The system user whose processes serve the partition."""
    return f"kf-{partition}"


def socket_unit(partition: str) -> str:
    return f"{PREFIX}{partition}.socket"


def names(rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Subscribers' partitions; the system partition has no user, socket or backend."""
    return sorted(check_name(row["name"]) for row in rows if row["name"] != SYSTEM)


def files(partitions: Iterable[str], state: Path, *, haproxy: bool, socket_group: str) -> dict[Path, str]:
    """Path → content of everything this node's partitions need."""
    partitions = list(partitions)
    wanted = {SYSUSERS: "".join(_sysuser(name, state) for name in partitions)}
    if haproxy:
        wanted[HAPROXY] = "".join(_backend(name) + subscriber.backend(name) for name in partitions)
    for name in partitions:
        wanted[UNIT_DIRECTORY / socket_unit(name)] = _SOCKET.format(name=name, group=socket_group)
        wanted[UNIT_DIRECTORY / f"{PREFIX}{name}@.service"] = _SERVICE.format(
            name=name, user=user(name), home=state / "partitions" / name, module=MODULE
        )
    return wanted


def _sysuser(name: str, state: Path) -> str:
    return f'u {user(name)} - "Keyfold partition {name}" {state}/partitions/{name}\n'


def _backend(name: str) -> str:
    return f"backend p_{name}\n    mode tcp\n    server s unix@/run/keyfold/partitions/{name}.sock\n"


_SOCKET = """\
# Written by keyfold-provision.service
[Unit]
Description=Keyfold partition {name}: subscriber connections

[Socket]
ListenStream=/run/keyfold/partitions/{name}.sock
SocketUser=root
SocketGroup={group}
SocketMode=0660
DirectoryMode=0755
Accept=yes
MaxConnections=64

[Install]
WantedBy=sockets.target
"""

_SERVICE = """\
# Written by keyfold-provision.service
[Unit]
Description=Keyfold partition {name}: one subscriber connection
CollectMode=inactive-or-failed

[Service]
ExecStart=/usr/bin/p11-kit remote --provider {module} pkcs11:token={name}
StandardInput=socket
StandardOutput=socket
StandardError=journal
User={user}
Environment=SOFTHSM2_CONF={home}/softhsm2.conf
UMask=0077
NoNewPrivileges=yes
CapabilityBoundingSet=
ProtectSystem=strict
ReadWritePaths={home}
ProtectHome=yes
PrivateTmp=yes
PrivateDevices=yes
PrivateNetwork=yes
ProtectKernelTunables=yes
ProtectKernelModules=yes
ProtectKernelLogs=yes
ProtectControlGroups=yes
ProtectClock=yes
ProtectHostname=yes
RestrictAddressFamilies=AF_UNIX
RestrictNamespaces=yes
RestrictRealtime=yes
RestrictSUIDSGID=yes
LockPersonality=yes
MemoryDenyWriteExecute=yes
SystemCallArchitectures=native
SystemCallFilter=@system-service
SystemCallFilter=~@privileged @resources
LimitNOFILE=256
LimitCORE=0
"""
