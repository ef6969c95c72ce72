"""A watch that lives through broken connections, lost members and elections."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Iterator

from keyfold.store.errors import Compacted
from keyfold.store.etcd.calls import Calls
from keyfold.store.etcd.codec import watch_request
from keyfold.store.etcd.faults import fault
from keyfold.store.etcd.stream import Assembler, HistoryGone, Lines, StreamEnded
from keyfold.store.etcd.transport import CONNECT_SECONDS, Endpoint, NotDone
from keyfold.store.interface import Batch, Watch

SILENCE_SECONDS = 4.0
"""After so long without a word, ask the endpoint whether it is alive."""

_HEADER_SECONDS = 5.0
_LONGEST_PAUSE_SECONDS = 1.0
_READ_BYTES = 256 * 1024


class EtcdWatch(Watch):
    """See `Watch`.

    Progress requests cannot be sent over the gateway's HTTP/1.1 (it reads a request to its end before it answers), so
    a silent stream is checked from beside it: the kernel's keep-alives cover the connection, a read on the same
    endpoint covers the process and its majority, and `hasleader` makes a member that lost its leader say so.
    """

    def __init__(self, calls: Calls, prefix: str, from_revision: int, *, progress: bool) -> None:
        self._calls = calls
        self._prefix = prefix.encode()
        self._progress = progress
        self._assembler = Assembler(delivered=from_revision - 1)
        self._lock = threading.Lock()
        self._stream: socket.socket | None = None
        self._closed = False

    def close(self) -> None:
        with self._lock:
            self._closed = True
            if self._stream is not None:
                _wake_reader(self._stream)

    def __iter__(self) -> Iterator[Batch]:
        pause = 0.05
        while not self._over():
            index = self._calls.order.order()[0]
            try:
                for batch in self._follow(self._calls.endpoints[index]):
                    pause = 0.05
                    yield batch
            except HistoryGone as gone:
                raise Compacted(gone.compact_revision) from None
            except (NotDone, StreamEnded, OSError):
                if self._over():
                    return
                self._calls.order.failed(index)
                self._calls.closed.wait(pause)
                pause = min(2 * pause, _LONGEST_PAUSE_SECONDS)

    def _over(self) -> bool:
        return self._closed or self._calls.closed.is_set()

    def _follow(self, endpoint: Endpoint) -> Iterator[Batch]:
        """The batches from one endpoint; always ends by raising."""
        self._assembler = Assembler(self._assembler.delivered)
        body = watch_request(self._prefix, self._assembler.delivered + 1, progress=self._progress)
        stream = endpoint.open_stream("/v3/watch", body, deadline=time.monotonic() + CONNECT_SECONDS)
        try:
            self._hold(stream)
            lines = Lines()
            data = _answer_body(endpoint, stream)
            stream.settimeout(SILENCE_SECONDS)
            while True:
                for line in lines.feed(data):
                    batch = self._assembler.feed(line)
                    if batch is not None:
                        yield batch
                data = self._receive(endpoint, stream)
        finally:
            with self._lock:
                self._stream = None
            stream.close()

    def _hold(self, stream: socket.socket) -> None:
        """From now on `close` can wake whoever reads this stream."""
        with self._lock:
            self._stream = stream
            if self._closed:
                _wake_reader(stream)

    def _receive(self, endpoint: Endpoint, stream: socket.socket) -> bytes:
        while True:
            try:
                data = stream.recv(_READ_BYTES)
            except TimeoutError:
                if self._over() or not self._calls.alive(endpoint):
                    raise StreamEnded("silent, and the endpoint does not answer") from None
                continue
            if not data:
                raise StreamEnded("closed by the server")
            return data


def _answer_body(endpoint: Endpoint, stream: socket.socket) -> bytes:
    """Read the answer's header; returns the beginning of its body.

    Raises StreamEnded, or the error that makes trying again futile.
    """
    deadline = time.monotonic() + _HEADER_SECONDS
    received = b""
    while b"\r\n\r\n" not in received:
        stream.settimeout(max(deadline - time.monotonic(), 0.001))
        data = stream.recv(_READ_BYTES)
        if not data:
            raise StreamEnded("closed by the server")
        received += data
    header, _, body = received.partition(b"\r\n\r\n")
    status = int(header.split(None, 2)[1])
    if status != 200:
        found = fault(endpoint.url, status, body)
        raise found.error or StreamEnded(found.reason)
    return body


def _wake_reader(stream: socket.socket) -> None:
    with contextlib.suppress(OSError):  # not connected any more: the reader has noticed
        # Past SSLSocket.shutdown, which would take the TLS state from under the reader's feet.
        socket.socket.shutdown(stream, socket.SHUT_RDWR)
