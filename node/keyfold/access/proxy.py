"""HAProxy's master process over its socket: https://docs.haproxy.org/3.0/management.html#9.4.

Reloaded, HAProxy leaves the process that holds older connections running: every question goes to all of them.
"""

from __future__ import annotations

import re
import socket
from dataclasses import dataclass
from pathlib import Path

SOCKET = Path("/run/haproxy-master.sock")
TABLE = "connections"
_TIMEOUT_SECONDS = 5.0
_WORKER = re.compile(r"^(\d+)\s+worker\s+\S+(?: \[failed: \d+\])?\s+(\d+)d(\d+)h(\d+)m(\d+)s", re.MULTILINE)
_KEY = re.compile(r"^0x[0-9a-f]+: key=(\S+) use=([0-9]+)", re.MULTILINE)
_SESSION = re.compile(r"^(0x[0-9a-f]+): .*?\bsrc=(\S+) fe=keyfold\b", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Worker:
    """`age_seconds`: since it started, and so since it read the revocation list; whole seconds."""

    pid: int
    age_seconds: int


class Proxy:
    """OSError from every method: HAProxy does not run, or does not answer."""

    def __init__(self, path: Path = SOCKET) -> None:
        self._path = path

    def workers(self) -> list[Worker]:
        """The process that takes new connections first, then those that only keep old ones."""
        return parse_workers(self._ask("show proc"))

    def keys(self, worker: Worker) -> list[str]:
        """Of its open connections, as the table `connections` has them."""
        return parse_keys(self._ask(f"@!{worker.pid} show table {TABLE}"))

    def end(self, worker: Worker, peers: frozenset[str]) -> int:
        """End the connections of these peers; how many there were."""
        sessions = parse_sessions(self._ask(f"@!{worker.pid} show sess"))
        ended = [session for session, peer in sessions if peer in peers]
        for session in ended:
            self._ask(f"@!{worker.pid} shutdown session {session}")
        return len(ended)

    def reload(self) -> str:
        """Read configuration, certificates and revocation list anew, for new connections; HAProxy's words."""
        return self._ask("reload")

    def _ask(self, command: str) -> str:
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(_TIMEOUT_SECONDS)
            connection.connect(str(self._path))
            connection.sendall(command.encode() + b"\n")
            # The master answers, and then waits for more as long as there may be more.
            connection.shutdown(socket.SHUT_WR)
            return b"".join(iter(lambda: connection.recv(65536), b"")).decode(errors="replace")


def parse_workers(text: str) -> list[Worker]:
    found = []
    for pid, *age in _WORKER.findall(text):
        days, hours, minutes, seconds = map(int, age)
        found.append(Worker(int(pid), ((days * 24 + hours) * 60 + minutes) * 60 + seconds))
    return found


def parse_keys(text: str) -> list[str]:
    """Keys of connections that are open; the table remembers closed ones for a moment."""
    return [key for key, use in _KEY.findall(text) if int(use) > 0]


def parse_sessions(text: str) -> list[tuple[str, str]]:
    return _SESSION.findall(text)
