"""A server on loopback that says what a test wrote down for it, byte by byte."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

OK = b"HTTP/1.1 200 OK\r\n"
Talk = Callable[[socket.socket], None]


def read_request(connection: socket.socket) -> bytes:
    """One request with a JSON body; empty when the client hangs up instead."""
    received = b""
    while not received.endswith(b"}"):
        data = connection.recv(4096)
        if not data:
            return b""
        received += data
    return received


def answering(*answers: bytes) -> Talk:
    """Give these answers to one request each, then hang up."""

    def talk(connection: socket.socket) -> None:
        for answer in answers:
            read_request(connection)
            connection.sendall(answer)

    return talk


def answering_always(answer: bytes) -> Talk:
    """Give this answer to every request, until the client hangs up."""

    def talk(connection: socket.socket) -> None:
        while read_request(connection):
            connection.sendall(answer)

    return talk


@contextmanager
def serve(*talks: Talk) -> Iterator[str]:
    """The URL of a server that takes one connection after the other, each with its own talk; each must take place."""
    listener = socket.create_server(("127.0.0.1", 0))
    failures: list[AssertionError] = []

    def run() -> None:
        for talk in talks:
            connection, _ = listener.accept()
            with connection:
                try:
                    talk(connection)
                except AssertionError as failure:
                    failures.append(failure)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        thread.join(5)
        listener.close()
    assert not thread.is_alive(), "not every talk took place"
    assert not failures, failures
