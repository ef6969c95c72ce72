"""journald's native protocol (https://systemd.io/JOURNAL_NATIVE_PROTOCOL/): one datagram, one structured entry."""

from __future__ import annotations

import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

SOCKET = Path("/run/systemd/journal/socket")
ALERT, NOTICE = 1, 5


class Journal(Protocol):
    def send(self, message: str, priority: int, fields: Mapping[str, str]) -> None:
        """OSError if the entry is not in the journal's hands; the caller keeps it and tries again."""


class SystemJournal:
    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def send(self, message: str, priority: int, fields: Mapping[str, str]) -> None:
        entry = {"MESSAGE": message, "PRIORITY": str(priority), "SYSLOG_IDENTIFIER": "keyfold-audit", **fields}
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as connection:
            connection.sendto(b"".join(_field(name, value) for name, value in entry.items()), str(self._path))


def _field(name: str, value: str) -> bytes:
    data = value.encode("utf-8", "replace")
    if b"\n" not in data:
        return name.encode() + b"=" + data + b"\n"
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"
