"""The agent's socket: one JSON object per line, the caller known by SO_PEERCRED (docs/interfaces.md §3)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import socketserver
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfold.agent.guests import DEFAULT_MOST, Guests, peer_uid, too_many
from keyfold.errors import KeyfoldError

log = logging.getLogger(__name__)

# The longest line an administrator may send (a chunk of a restore); a subscriber's process needs far less.
_ADMIN_LINE_BYTES = 16 * 1024 * 1024
_PARTITION_LINE_BYTES = 64 * 1024
Reply = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """`partition` None: the administrator (uid 0)."""

    uid: int
    partition: str | None

    def __str__(self) -> str:
        return "administrator" if self.partition is None else f"partition {self.partition}"


Operation = Callable[[Caller, Mapping[str, Any]], Reply | Iterable[Reply]]


class AgentServer(socketserver.ThreadingUnixStreamServer):
    """Serves `operations` (name → function) at `path` until shut down."""

    daemon_threads = True
    request_queue_size = 256

    def __init__(
        self, path: Path, operations: Mapping[str, Operation], most: Callable[[str], int] = lambda _: DEFAULT_MOST
    ) -> None:
        """`most`: how many connections at once a partition may have here; strangers have `STRANGERS_MOST` each."""
        self.operations = operations
        self._guests = Guests(most)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        path.chmod(0o666)

    def verify_request(self, request: Any, client_address: Any) -> bool:
        """Before a thread is spent on it: a partition that floods the socket must not use up the agent's threads."""
        caller = _caller(request)
        if caller is not None and caller.partition is None:
            return True
        uid = peer_uid(request)
        if self._guests.admit(request.fileno(), uid, None if caller is None else caller.partition):
            return True
        with contextlib.suppress(OSError):
            request.setblocking(False)
            request.send(json.dumps(too_many(uid).as_reply(), separators=(",", ":")).encode() + b"\n")
        return False

    def shutdown_request(self, request: Any) -> None:
        self._guests.leave(request.fileno())
        super().shutdown_request(request)


class _Handler(socketserver.StreamRequestHandler):
    server: AgentServer

    def handle(self) -> None:
        caller = _caller(self.connection)
        limit = _ADMIN_LINE_BYTES if caller is not None and caller.partition is None else _PARTITION_LINE_BYTES
        try:
            while line := self.rfile.readline(limit):
                if not line.endswith(b"\n"):
                    self._send(_invalid(f"a request line is longer than {limit} bytes or incomplete").as_reply())
                    return
                for reply in self._replies(caller, line):
                    self._send(reply)
        except (ConnectionError, TimeoutError):
            return

    def _replies(self, caller: Caller | None, line: bytes) -> Iterable[Reply]:
        try:
            yield from self._answer(caller, line)
        except KeyfoldError as error:
            yield error.as_reply()
        except Exception:
            log.exception("a defect in keyfold-agent")
            yield KeyfoldError(
                "internal",
                "the agent met a defect of its own",
                not_done="the request may be carried out in part",
                next_step="journalctl -u keyfold-agent",
            ).as_reply()

    def _answer(self, caller: Caller | None, line: bytes) -> Iterable[Reply]:
        if caller is None:
            raise KeyfoldError(
                "denied",
                "the caller is neither root nor a partition's own user",
                not_done="the request was not read",
                next_step="run the command as root",
            )
        try:
            request = json.loads(line)
            operation = self.server.operations[request["op"]]
        except (ValueError, KeyError, TypeError) as error:
            raise _invalid("the request is not one of the agent's operations") from error
        answer = operation(caller, request)
        if isinstance(answer, Mapping):
            yield {"ok": True, **answer}
        else:
            for reply in answer:
                yield {"ok": True, **reply}

    def _send(self, reply: Reply) -> None:
        self.wfile.write(json.dumps(reply, separators=(",", ":")).encode() + b"\n")


def _caller(connection: socket.socket) -> Caller | None:
    uid = peer_uid(connection)
    if uid in (0, os.geteuid()):
        return Caller(uid, None)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
    return Caller(uid, name.removeprefix("kf-")) if name.startswith("kf-") else None


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="nothing was read or changed", next_step="see docs/interfaces.md §3")
