"""sd_notify(3) without a library: one datagram."""

from __future__ import annotations

import os
import socket


def ready() -> None:
    """Tell systemd that the service is up; nothing happens outside systemd."""
    address = os.environ.get("NOTIFY_SOCKET")
    if not address:
        return
    if address.startswith("@"):
        address = "\0" + address[1:]
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
        connection.sendto(b"READY=1", address)
