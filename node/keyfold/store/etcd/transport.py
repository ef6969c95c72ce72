"""Bytes to and from one endpoint: HTTP/1.1 with kept connections, and whether a request can have left."""

from __future__ import annotations

import http.client
import select
import socket
import ssl
import time
from collections import deque
from dataclasses import dataclass
from typing import NoReturn
from urllib.parse import urlsplit

from keyfold.errors import KeyfoldError

CONNECT_SECONDS = 2.0
_KEPT_CONNECTIONS = 16
_READ_BYTES = 64 * 1024
_CERTIFICATE_ALERTS = ("CERTIFICATE", "UNKNOWN_CA", "ACCESS_DENIED")
_HEADERS = {"Content-Type": "application/json"}
# Makes etcd refuse at once, before proposing anything, while it sees no leader, instead of timing out
# (rpctypes MetadataRequireLeaderKey). It also ends a watch on a member that is cut off from its majority.
_REQUIRE_LEADER = {"Grpc-Metadata-hasleader": "true"}


class NotDone(Exception):
    """The request was surely not carried out: it did not leave completely, or etcd refused it before proposing it.

    `certificate`: because the two do not trust each other.
    """

    def __init__(self, reason: str, *, certificate: bool = False) -> None:
        super().__init__(reason)
        self.certificate = certificate


class PerhapsDone(Exception):
    """The request left completely, and no complete answer came, or one that leaves it open."""


@dataclass(frozen=True, slots=True)
class Answer:
    status: int
    body: bytes


class Endpoint:
    """One member's client URL. Any number of threads may post at once; each uses a connection of its own."""

    def __init__(self, url: str, tls: ssl.SSLContext | None) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or parts.hostname is None:
            raise KeyfoldError(
                "invalid",
                f"not an http or https URL: {url}",
                not_done="etcd was not contacted",
                next_step="correct endpoints under [etcd] in /etc/keyfold/keyfold.toml",
            )
        self.url = url
        self._host = parts.hostname
        self._port = parts.port or 2379
        self._tls = tls if parts.scheme == "https" else None
        self._idle: deque[http.client.HTTPConnection] = deque()
        self._closed = False

    def post(self, path: str, body: bytes, *, deadline: float, require_leader: bool = True) -> Answer:
        """POST and read the whole answer until `deadline` (monotonic). Raises NotDone or PerhapsDone."""
        connection = self._kept() or self._connect(deadline)
        try:
            answer, keep = self._exchange(connection, path, body, deadline, require_leader)
        except BaseException:
            connection.close()
            raise
        if keep and not self._closed and len(self._idle) < _KEPT_CONNECTIONS:
            self._idle.append(connection)
        else:
            connection.close()
        return answer

    def open_stream(self, path: str, body: bytes, *, deadline: float) -> socket.socket:
        """POST on a connection of its own and leave the answer, status line and all, to be read from the socket.

        HTTP/1.0, so that the server streams the answer as it is, without chunk framing, until it closes.
        Kernel keep-alives find a connection that a firewall has swallowed within 9 seconds. Raises NotDone.
        """
        connection = self._connect(deadline)
        stream: socket.socket = connection.sock
        try:
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 3)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 2)
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3)
            headers = {**_HEADERS, **_REQUIRE_LEADER, "Host": self._host, "Content-Length": str(len(body))}
            lines = [f"POST {path} HTTP/1.0", *(f"{name}: {value}" for name, value in headers.items()), "", ""]
            stream.sendall("\r\n".join(lines).encode("ascii") + body)
        except OSError as error:
            stream.close()
            _not_done(error)
        return stream

    def close(self) -> None:
        """Close the kept connections; those in use end with their calls."""
        self._closed = True
        while self._idle:
            self._idle.pop().close()

    def _kept(self) -> http.client.HTTPConnection | None:
        """A kept connection that the server has not closed meanwhile: an idle one has nothing to read."""
        while True:
            try:
                connection = self._idle.pop()
            except IndexError:
                return None
            poll = select.poll()
            poll.register(connection.sock, select.POLLIN)
            if not poll.poll(0):
                return connection
            connection.close()

    def _connect(self, deadline: float) -> http.client.HTTPConnection:
        timeout = min(CONNECT_SECONDS, deadline - time.monotonic())
        if timeout <= 0:
            raise NotDone("no time left to connect")
        connection: http.client.HTTPConnection
        if self._tls is None:
            connection = http.client.HTTPConnection(self._host, self._port, timeout=timeout)
        else:
            connection = http.client.HTTPSConnection(self._host, self._port, timeout=timeout, context=self._tls)
        try:
            connection.connect()
        except OSError as error:
            connection.close()
            _not_done(error)
        return connection

    def _exchange(
        self, connection: http.client.HTTPConnection, path: str, body: bytes, deadline: float, require_leader: bool
    ) -> tuple[Answer, bool]:
        headers = {**_HEADERS, **_REQUIRE_LEADER} if require_leader else _HEADERS
        stream: socket.socket = connection.sock
        if not _limit(stream, deadline):
            raise NotDone("no time left")
        try:
            # An error here means that the kernel did not take all of the request, so the server cannot act on
            # it.
            connection.request("POST", path, body, headers)
        except OSError as error:
            _not_done(error)
        try:
            response = connection.getresponse()
            parts: list[bytes] = []
            while response.length != 0 and not response.isclosed():
                if not _limit(stream, deadline):
                    raise PerhapsDone("timed out while reading the answer")
                parts.append(response.read1(_READ_BYTES))
            response.close()
        except ssl.SSLError as error:
            if _is_about_certificates(error):
                _not_done(error)  # under TLS 1.3 a server refuses our certificate only after we began to talk
            raise PerhapsDone(_reason(error)) from error
        except (OSError, http.client.HTTPException) as error:
            raise PerhapsDone(_reason(error)) from error
        if response.length:
            raise PerhapsDone("the answer was cut short")
        return Answer(response.status, b"".join(parts)), not response.will_close


def _limit(stream: socket.socket, deadline: float) -> bool:
    """Let the next operation on the socket take what is left of the time; False when nothing is."""
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        return False
    stream.settimeout(remaining)
    return True


def _not_done(error: OSError) -> NoReturn:
    raise NotDone(_reason(error), certificate=_is_about_certificates(error)) from error


def _is_about_certificates(error: OSError) -> bool:
    if isinstance(error, ssl.SSLCertVerificationError):
        return True
    reason = str(getattr(error, "reason", "") or "")
    return isinstance(error, ssl.SSLError) and "ALERT" in reason and any(a in reason for a in _CERTIFICATE_ALERTS)


def _reason(error: Exception) -> str:
    return "timed out" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
