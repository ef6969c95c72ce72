"""The way to a partition's self-service on a node: an instance of a packaged unit, a backend of HAProxy. Pure."""

from __future__ import annotations

from pathlib import Path

TEMPLATE = Path("/usr/lib/systemd/system/keyfold-subscriber@.socket")
SOCKETS = "/run/keyfold/subscribers"
# For a person or a nightly job, not for signing; as many as the service serves at a time.
_CONNECTIONS = 8

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
    return _BACKEND.format(name=partition, connections=_CONNECTIONS, sockets=SOCKETS)
