"""The client's end of the tunnel: requests out, replies in."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Protocol, Self

from keyfold.errors import KeyfoldError
from keyfold.subscriber.protocol import encode, read

TUNNELS = Path("/run/keyfold-client")
SOCKET = "subscriber.sock"
_REPLY_SECONDS = 120.0


class Node(Protocol):
    """What the commands need of a node. KeyfoldError: what the node refused, or `agent_down`."""

    def ask(self, op: str, **fields: Any) -> dict[str, Any]: ...

    def stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        """Replies up to and without the one with `end`."""


class Connection:
    """One connection, kept for its whole conversation."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.settimeout(_REPLY_SECONDS)
        try:
            self._socket.connect(str(path))
        except PermissionError:
            raise KeyfoldError(
                "denied",
                f"{path} may not be used by this user",
                not_done="nothing was read or changed",
                next_step=f"run the command as a member of the group kf-{path.parent.name}",
            ) from None
        except OSError as error:
            raise self._down(str(error.strerror)) from None
        self._lines = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._lines.close()
        self._socket.close()

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        self._send(op, fields)
        return self._reply()

    def stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        self._send(op, fields)
        while not (reply := self._reply()).get("end"):
            yield reply

    def _send(self, op: str, fields: dict[str, Any]) -> None:
        try:
            self._socket.sendall(encode({"op": op, **fields}))
        except OSError as error:
            raise self._down(str(error)) from None

    def _reply(self) -> dict[str, Any]:
        try:
            reply = read(self._lines)
        except (OSError, KeyfoldError) as error:
            raise self._down(str(error)) from None
        if reply is None:
            raise self._down("it closed the connection: the certificate may be revoked, or too many are connected")
        if reply.get("ok") is not True:
            raise KeyfoldError.from_reply(reply)
        return reply

    def _down(self, reason: str) -> KeyfoldError:
        return KeyfoldError(
            "agent_down",
            f"no node answers behind {self._path}: {reason}",
            not_done="the request was not carried out, or its outcome is unknown",
            next_step=f"systemctl status keyfold-client@{self._path.parent.name}; journalctl -u the same",
        )


def partition_of(asked: str | None, known: Sequence[str]) -> str:
    """The partition asked for, or the only one this machine has a tunnel for."""
    if asked is not None and asked in known:
        return asked
    if asked is None and len(known) == 1:
        return known[0]
    what = "this machine has tunnels to" if asked is None else f"there is no tunnel to partition {asked!r}; there are"
    raise KeyfoldError(
        "not_found" if asked is not None or not known else "invalid",
        f"{what}: {', '.join(known) or 'none'}",
        not_done="nothing was read or changed",
        next_step="say which: --partition NAME" if known else "set the machine up with Keyfold's role client",
    )


def known_partitions(tunnels: Path = TUNNELS) -> list[str]:
    try:
        return sorted(entry.name for entry in tunnels.iterdir() if entry.is_dir())
    except OSError:
        return []
