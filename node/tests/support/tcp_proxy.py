"""A TCP proxy that a test can make misbehave: it stands for a network between a client and its server."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from enum import Enum, auto


class Mode(Enum):
    PASS = auto()
    SWALLOW_REQUESTS = auto()  # what the client sends never arrives; connections stay open
    SWALLOW_ANSWERS = auto()  # the server works, its answers never arrive; connections stay open
    CUT_ANSWERS = auto()  # the server works; the connection is closed in place of its answer


class TcpProxy:
    """`mode` may change at any time and applies to what is sent from then on, also over open connections."""

    def __init__(self, target: tuple[str, int]) -> None:
        self.mode = Mode.PASS
        self._target = target
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._open: list[socket.socket] = [self._listener]
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        for connection in self._open:
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)
            connection.close()

    def _accept(self) -> None:
        with suppress(OSError):
            while True:
                client, _ = self._listener.accept()
                server = socket.create_connection(self._target)
                self._open += [client, server]
                threading.Thread(target=self._pump, args=(client, server, False), daemon=True).start()
                threading.Thread(target=self._pump, args=(server, client, True), daemon=True).start()

    def _pump(self, source: socket.socket, sink: socket.socket, answers: bool) -> None:
        with suppress(OSError):
            while data := source.recv(65536):
                if self.mode is Mode.CUT_ANSWERS and answers:
                    break
                swallowed = Mode.SWALLOW_ANSWERS if answers else Mode.SWALLOW_REQUESTS
                if self.mode is not swallowed:
                    sink.sendall(data)
        for end in (source, sink):
            with suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)


@contextmanager
def tcp_proxy(target: tuple[str, int]) -> Iterator[TcpProxy]:
    proxy = TcpProxy(target)
    try:
        yield proxy
    finally:
        proxy.close()
