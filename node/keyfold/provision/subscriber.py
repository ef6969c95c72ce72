"""The way to a partition's self-service on a node: an instance of a packaged unit, a backend of HAProxy. Pure."""

from __future__ import annotations

SOCKETS = "/run/keyfold/subscribers"


def socket_unit(partition: str) -> str:
    """Its service, keyfold-subscriber@<partition>, runs only while somebody asks."""
    return f"keyfold-subscriber@{partition}.socket"


def backend(partition: str) -> str:
    """Few at a time: this is for a person or a nightly job, not for signing."""
    return f"backend s_{partition}\n    mode tcp\n    server s unix@{SOCKETS}/{partition}.sock maxconn 8\n"
