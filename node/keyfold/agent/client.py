"""Talk to the agent over its unix socket (docs/interfaces.md §3)."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact

# Longer than any single step the agent takes; a dead agent is noticed at connect or by a closed socket.
REPLY_SECONDS = 300.0


class AgentClient:
    """One connection per call: it survives every restart of the agent."""

    def __init__(self, path: Path, timeout_seconds: float = REPLY_SECONDS) -> None:
        self._path = path
        self._timeout = timeout_seconds

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        """One request, one reply. An error reply is raised as the KeyfoldError it describes."""
        for reply in self.stream(op, **params):
            return reply
        raise self._down("it closed the connection before answering")

    def stream(self, op: str, **params: Any) -> Iterator[dict[str, Any]]:
        """All replies to one request, up to the one with `end`, or the first if it is the only one."""
        request = compact({"op": op, **params}) + b"\n"
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
            connection.settimeout(self._timeout)
            try:
                connection.connect(str(self._path))
                connection.sendall(request)
                connection.shutdown(socket.SHUT_WR)
                with connection.makefile("rb") as lines:
                    for line in lines:
                        reply: dict[str, Any] = json.loads(line)
                        if not reply["ok"]:
                            raise KeyfoldError.from_reply(reply)
                        yield reply
            except (OSError, ValueError) as error:
                raise self._down(str(error)) from error

    def _down(self, reason: str) -> KeyfoldError:
        return KeyfoldError(
            "agent_down",
            f"the agent at {self._path} does not answer: {reason}",
            not_done="the request was not carried out, or its outcome is unknown",
            next_step="systemctl status keyfold-agent; journalctl -u keyfold-agent",
        )
