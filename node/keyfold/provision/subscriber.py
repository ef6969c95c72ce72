"""The way to a partition's self-service on a node: an instance of a packaged unit, a backend of HAProxy. Pure."""

from __future__ import annotations

from pathlib import Path

from keyfold.package import SELF_SERVICE_CONNECTIONS

TEMPLATE = Path("/usr/lib/systemd/system/keyfold-subscriber@.socket")
SOCKETS = "/run/keyfold/subscribers"

_BACKEND = """\
backend s_{name}
    mode tcp
    tcp-request content reject if {{ be_conn gt {connections} }}
    server s unix@{sockets}/{name}.sock
"""


def escaped(partition: str) -> str:
    """A partition's name as an instance and in a slice's name, where a dash means something (systemd-escape)."""
    return partition.replace("-", r"\x2d")


def socket_unit(partition: str) -> str:
    """Its service, keyfold-subscriber@<partition>, runs only while somebody asks."""
    return f"keyfold-subscriber@{escaped(partition)}.socket"


def backend(partition: str) -> str:
    return _BACKEND.format(name=partition, connections=SELF_SERVICE_CONNECTIONS, sockets=SOCKETS)
