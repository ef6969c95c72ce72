"""Whether a request can have been carried out, whatever the other side does to its answer."""

from __future__ import annotations

import http.client
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager

import pytest
from support.http_script import OK, Talk, answering, read_request, serve

from keyfold.errors import KeyfoldError
from keyfold.store import StoreConfig, open_store
from keyfold.store.etcd.transport import Answer, Endpoint, NotDone, PerhapsDone


@contextmanager
def endpoint_of(*talks: Talk) -> Iterator[Endpoint]:
    with serve(*talks) as url:
        endpoint = Endpoint(url, None)
        yield endpoint
        endpoint.close()


def post(endpoint: Endpoint, seconds: float = 5.0) -> Answer:
    return endpoint.post("/v3/kv/txn", b"{}", deadline=time.monotonic() + seconds)


def test_a_connection_is_kept_for_the_next_request() -> None:
    with endpoint_of(answering(OK + b"Content-Length: 2\r\n\r\n{}", OK + b"Content-Length: 1\r\n\r\n1")) as endpoint:
        assert post(endpoint) == Answer(200, b"{}")
        assert post(endpoint) == Answer(200, b"1")


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nbad\r\n0\r\n\r\n",
        b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\nContent-Length: 3\r\n\r\nbad",
        b"HTTP/1.0 400 Bad Request\r\n\r\nbad",
    ],
    ids=["chunked", "with a length", "until the end"],
)
def test_a_connection_that_the_server_gives_up_is_not_kept(answer: bytes) -> None:
    with endpoint_of(answering(answer), answering(OK + b"Content-Length: 2\r\n\r\n{}")) as endpoint:
        assert post(endpoint) == Answer(400, b"bad")
        assert post(endpoint) == Answer(200, b"{}")


@pytest.mark.parametrize(
    "answer",
    [
        b"",
        b"HTTP/1.1 20",
        b"not HTTP at all\r\n\r\n",
        OK + b"Content-Length: 9\r\n\r\n{",
        OK + b"Transfer-Encoding: chunked\r\n\r\n9\r\n{",
        OK + b"Transfer-Encoding: chunked\r\n\r\n1\r\n{\r\n",
    ],
    ids=["nothing", "cut header", "no HTTP", "cut body", "cut chunk", "no last chunk"],
)
def test_an_incomplete_answer_leaves_it_unknown(answer: bytes) -> None:
    with endpoint_of(answering(answer)) as endpoint, pytest.raises(PerhapsDone):
        post(endpoint)


def test_silence_leaves_it_unknown_at_the_deadline() -> None:
    over = threading.Event()

    def talk(connection: socket.socket) -> None:
        read_request(connection)
        over.wait(5)

    with endpoint_of(talk) as endpoint:
        begun = time.monotonic()
        with pytest.raises(PerhapsDone, match="timed out"):
            post(endpoint, seconds=0.2)
        assert time.monotonic() - begun < 2
        over.set()


def test_an_answer_that_trickles_does_not_outlast_the_deadline() -> None:
    def talk(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(OK + b"Content-Length: 100000\r\n\r\n")
        connection.settimeout(0.01)
        hung_up = False
        while not hung_up:
            connection.sendall(b" ")
            try:
                hung_up = connection.recv(1) == b""
            except TimeoutError:
                continue
            except ConnectionResetError:
                hung_up = True

    with endpoint_of(talk) as endpoint:
        begun = time.monotonic()
        with pytest.raises(PerhapsDone, match="timed out"):
            post(endpoint, seconds=0.2)
        assert time.monotonic() - begun < 2


def test_nobody_listening_is_surely_not_done() -> None:
    with endpoint_of() as endpoint:
        pass
    with pytest.raises(NotDone, match="refused"):
        post(endpoint)


def test_no_time_left_is_surely_not_done() -> None:
    with endpoint_of() as endpoint, pytest.raises(NotDone, match="no time left"):
        post(endpoint, seconds=-1.0)


def test_a_kept_connection_that_was_hung_up_is_replaced_before_sending() -> None:
    answer = OK + b"Content-Length: 2\r\n\r\n{}"
    with endpoint_of(answering(answer), answering(answer)) as endpoint:
        post(endpoint)
        # The server closes after its one answer; the poll must see it, however soon we ask again.
        for connection in endpoint._idle:
            connection.sock.settimeout(5)
            assert connection.sock.recv(1, socket.MSG_PEEK) == b""
        assert post(endpoint) == Answer(200, b"{}")


@pytest.mark.parametrize(
    ("reason", "is_about_certificates"),
    [
        ("TLSV1_ALERT_UNKNOWN_CA", True),
        ("SSLV3_ALERT_BAD_CERTIFICATE", True),
        ("SSLV3_ALERT_CERTIFICATE_EXPIRED", True),
        ("TLSV13_ALERT_CERTIFICATE_REQUIRED", True),
        ("TLSV1_ALERT_INTERNAL_ERROR", False),
        ("TLSV1_ALERT_USER_CANCELLED", False),
        ("WRONG_VERSION_NUMBER", False),
    ],
)
def test_an_alert_about_our_certificate_is_surely_not_done_any_other_is_unknown(
    reason: str, is_about_certificates: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Under TLS 1.3 the alert takes the place of the answer."""
    alert = ssl.SSLError(1, f"[SSL: {reason}]")
    alert.reason = reason

    def hang_up(connection: socket.socket) -> None:
        read_request(connection)

    def refuse(self: http.client.HTTPConnection) -> http.client.HTTPResponse:
        raise alert

    monkeypatch.setattr(http.client.HTTPConnection, "getresponse", refuse)
    with endpoint_of(hang_up) as endpoint:
        with pytest.raises(NotDone if is_about_certificates else PerhapsDone) as caught:
            post(endpoint)
        assert getattr(caught.value, "certificate", False) is is_about_certificates


@pytest.mark.parametrize("url", ["hsm1:2379", "ftp://hsm1:2379", "http://"])
def test_what_is_no_url_is_refused(url: str) -> None:
    with pytest.raises(KeyfoldError, match="URL"):
        open_store(StoreConfig((url,)))


def test_no_endpoints_at_all_are_refused() -> None:
    with pytest.raises(KeyfoldError, match="no etcd endpoint"):
        open_store(StoreConfig(()))
