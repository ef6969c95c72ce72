"""The agent's socket: one JSON object per line, the caller known by SO_PEERCRED (docs/interfaces.md §3)."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import pwd
import socket
import socketserver
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.json_bytes import compact

log = logging.getLogger(__name__)

# The longest line an administrator may send (a chunk of a restore); a subscriber's process needs far less.
_ADMIN_LINE_BYTES = 16 * 1024 * 1024
_PARTITION_LINE_BYTES = 64 * 1024
_UCRED = struct.Struct("3i")

Reply = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Caller:
    """`partition` None: the administrator (uid 0). `closing`: called once, when this connection has ended."""

    uid: int
    partition: str | None
    closing: list[Callable[[], object]] = field(default_factory=list, compare=False, repr=False)

    def __str__(self) -> str:
        return "administrator" if self.partition is None else f"partition {self.partition}"


Operation = Callable[[Caller, Mapping[str, Any]], Reply | Iterable[Reply]]


class AgentServer(socketserver.ThreadingUnixStreamServer):
    """Serves `operations` (name → function) at `path` until shut down.

    `per_uid`: how many connections one uid, root apart, may have at a time; without a limit one tenant's silent
    connections could take all the agent's threads.
    """

    daemon_threads = True
    request_queue_size = 256

    def __init__(self, path: Path, operations: Mapping[str, Operation], per_uid: int) -> None:
        self.operations = operations
        self._per_uid = per_uid
        self._connections: Counter[int] = Counter()
        self._counting = threading.Lock()
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        super().__init__(str(path), _Handler)
        path.chmod(0o666)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """One connection, unless its uid has too many: then it is told so and closed."""
        uid = _uid(request)
        with self._counting:
            self._connections[uid] += 1
            admitted = uid in (0, os.geteuid()) or self._connections[uid] <= self._per_uid
        try:
            if admitted:
                super().process_request_thread(request, client_address)
            else:
                self._turn_away(request)
        finally:
            with self._counting:
                self._connections[uid] -= 1
                self._connections += Counter()  # forget who has none

    def _turn_away(self, request: Any) -> None:
        error = KeyfoldError(
            "denied",
            f"this user has {self._per_uid} connections to the agent open already",
            not_done="nothing was read or changed",
            next_step="close connections that are not in use",
        )
        with contextlib.suppress(OSError):
            request.sendall(_encoded(error.as_reply()))
        self.shutdown_request(request)


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
        finally:
            for ended in () if caller is None else caller.closing:
                ended()

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
        except (ValueError, KeyError, TypeError, RecursionError) as error:
            raise _invalid("the request is not one of the agent's operations") from error
        answer = operation(caller, request)
        if isinstance(answer, Mapping):
            yield {"ok": True, **answer}
        else:
            for reply in answer:
                yield {"ok": True, **reply}

    def _send(self, reply: Reply) -> None:
        self.wfile.write(_encoded(reply))


def _encoded(reply: Reply) -> bytes:
    return compact(reply) + b"\n"


def _uid(connection: socket.socket) -> int:
    """Of the process that connected, as the kernel says."""
    raw = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _UCRED.size)
    return int(_UCRED.unpack(raw)[1])


def _caller(connection: socket.socket) -> Caller | None:
    uid = _uid(connection)
    if uid in (0, os.geteuid()):
        return Caller(uid, None)
    try:
        name = pwd.getpwuid(uid).pw_name
    except KeyError:
        return None
    return Caller(uid, name.removeprefix("kf-")) if name.startswith("kf-") else None


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="nothing was read or changed", next_step="see docs/interfaces.md §3")
