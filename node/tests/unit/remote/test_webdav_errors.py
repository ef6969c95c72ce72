"""What a store that fails is called: one clear error each, and never a wait without end."""

from __future__ import annotations

import io
import socket
import ssl
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.webdav_server import Credentials, Wsgi, make_credentials, serve, webdav_app

from keyfold.clock import SystemClock
from keyfold.errors import KeyfoldError
from keyfold.remote.webdav import WebDavRemote


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Credentials:
    return make_credentials(tmp_path_factory.mktemp("ours"))


def connect(
    url: str, credentials: Credentials, *, idle_seconds: float = 5, transfer_seconds: float = 5
) -> WebDavRemote:
    return WebDavRemote(
        url,
        credentials.ca,
        credentials.cert,
        credentials.key,
        idle_seconds=idle_seconds,
        transfer_seconds=transfer_seconds,
    )


def put(remote: WebDavRemote, content: bytes = b"x" * 1000) -> None:
    remote.put_new("a.age", io.BytesIO(content), len(content))


def get(remote: WebDavRemote) -> bytes:
    with remote.get("a.age") as chunks:
        return b"".join(chunks)


OPERATIONS: list[Callable[[WebDavRemote], object]] = [put, get, lambda remote: remote.list()]


def answering(status: str, body: bytes = b"", seen: list[dict[str, Any]] | None = None) -> Wsgi:
    def app(environ: dict[str, Any], start_response: Any) -> list[bytes]:
        environ["wsgi.input"].read(int(environ.get("CONTENT_LENGTH") or 0))
        if seen is not None:
            seen.append(environ)
        start_response(status, [("Content-Length", str(len(body)))])
        return [body]

    return app


@pytest.mark.parametrize(
    ("status", "code", "words"),
    [
        ("403 Forbidden", "certificate", "does not let this identity"),
        ("401 Unauthorized", "certificate", "does not let this identity"),
        ("412 Precondition Failed", "conflict", "already has a.age"),
        ("507 Insufficient Storage", "store_error", "full"),
        ("413 Content Too Large", "store_error", "full"),
        ("423 Locked", "store_error", "423"),
        ("500 Internal Server Error", "store_error", "500"),
        ("301 Moved Permanently", "store_error", "301"),
    ],
)
def test_a_status_becomes_the_error_that_names_it(ours: Credentials, status: str, code: str, words: str) -> None:
    with serve(answering(status), ours) as url, connect(url, ours) as remote:
        with pytest.raises(KeyfoldError) as caught:
            put(remote)
        assert caught.value.code == code
        assert words in caught.value.what
        assert caught.value.not_done
        assert caught.value.next_step


def test_a_put_is_conditional_and_announces_its_length(ours: Credentials) -> None:
    seen: list[dict[str, Any]] = []
    with serve(answering("201 Created", seen=seen), ours) as url, connect(url, ours) as remote:
        put(remote, b"12345")
        put(remote, b"")
    for request, length in zip(seen, ("5", "0"), strict=True):
        assert request["HTTP_IF_NONE_MATCH"] == "*"
        assert request["CONTENT_LENGTH"] == length
        assert "HTTP_TRANSFER_ENCODING" not in request


def test_the_environment_can_neither_redirect_nor_widen_trust(
    ours: Credentials, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    stranger = make_credentials(tmp_path)
    monkeypatch.setenv("HTTPS_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(stranger.ca))
    with serve(answering("201 Created"), ours) as url, connect(url, ours) as remote:
        put(remote)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_stranger_in_place_of_the_store_is_a_certificate_error(
    ours: Credentials, tmp_path: Path, operation: Callable[[WebDavRemote], object]
) -> None:
    stranger = make_credentials(tmp_path)
    with serve(answering("200 OK"), stranger) as url, connect(url, ours) as remote:
        with pytest.raises(KeyfoldError) as caught:
            operation(remote)
        assert caught.value.code == "certificate"
        assert "TLS" in caught.value.what


@pytest.mark.parametrize("operation", OPERATIONS)
@pytest.mark.parametrize("wrong", ["foreign", "expired"])
def test_a_client_certificate_the_store_rejects_is_a_certificate_error(
    ours: Credentials, tmp_path: Path, wrong: str, operation: Callable[[WebDavRemote], object]
) -> None:
    other = make_credentials(tmp_path / "other", days=-1 if wrong == "expired" else 1)
    if wrong == "expired":
        server, client = make_credentials(tmp_path / "server"), other
        trusting = Credentials(other.ca, server.cert, server.key)
        mixed = Credentials(server.ca, client.cert, client.key)
    else:
        trusting, mixed = ours, Credentials(ours.ca, other.cert, other.key)
    with serve(answering("200 OK"), trusting) as url, connect(url, mixed) as remote:
        with pytest.raises(KeyfoldError) as caught:
            operation(remote)
        assert caught.value.code == "certificate"


def test_a_missing_certificate_file_is_named(ours: Credentials, tmp_path: Path) -> None:
    absent = tmp_path / "absent.crt"
    remote = WebDavRemote("https://127.0.0.1:1/", ours.ca, absent, ours.key)
    with pytest.raises(KeyfoldError) as caught:
        remote.list()
    assert caught.value.code == "certificate"
    assert str(absent) in caught.value.what


@pytest.mark.parametrize("operation", OPERATIONS)
def test_a_store_that_is_not_there_is_a_store_error(
    ours: Credentials, operation: Callable[[WebDavRemote], object]
) -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        remote = connect(f"https://127.0.0.1:{unused.getsockname()[1]}/", ours)
        with pytest.raises(KeyfoldError) as caught:
            operation(remote)
    assert caught.value.code == "store_error"
    assert "cannot be reached" in caught.value.what


@contextmanager
def raw_server(credentials: Credentials, behave: Callable[[ssl.SSLSocket, threading.Event], object]) -> Iterator[str]:
    """A TLS server whose every byte the test decides; `behave` should end when the event is set."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(credentials.cert, credentials.key)
    over = threading.Event()

    def run() -> None:
        connection, _ = listener.accept()
        with context.wrap_socket(connection, server_side=True) as tls:
            tls.recv(65536)
            behave(tls, over)

    with socket.create_server(("127.0.0.1", 0)) as listener:
        thread = threading.Thread(target=run, daemon=True)
        thread.start()
        try:
            yield f"https://127.0.0.1:{listener.getsockname()[1]}/"
        finally:
            over.set()
            thread.join(10)


def test_a_store_that_hangs_is_given_up(ours: Credentials) -> None:
    with raw_server(ours, lambda _tls, over: over.wait(10)) as url:
        started = SystemClock().monotonic()
        with pytest.raises(KeyfoldError) as caught:
            get(connect(url, ours, idle_seconds=0.2))
        assert caught.value.code == "store_error"
        assert "did not answer in time" in caught.value.what
        assert SystemClock().monotonic() - started < 5


def test_a_store_that_dribbles_is_given_up(ours: Credentials) -> None:
    def dribble(tls: ssl.SSLSocket, over: threading.Event) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n")
        while not over.wait(0.02):
            try:
                tls.sendall(b"x")
            except OSError:
                return

    with raw_server(ours, dribble) as url:
        with pytest.raises(KeyfoldError) as caught:
            get(connect(url, ours, transfer_seconds=0.2))
        assert caught.value.code == "store_error"
        assert "took longer" in caught.value.what


def test_a_body_that_ends_early_is_never_a_short_read(ours: Credentials) -> None:
    def cut(tls: ssl.SSLSocket, _over: threading.Event) -> None:
        tls.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\nonly this")

    with raw_server(ours, cut) as url:
        with pytest.raises(KeyfoldError) as caught:
            get(connect(url, ours))
        assert caught.value.code == "store_error"


def test_an_upload_cut_off_by_the_store_is_a_store_error(ours: Credentials) -> None:
    with raw_server(ours, lambda _tls, _over: None) as url:
        with pytest.raises(KeyfoldError) as caught:
            put(connect(url, ours), b"x" * (8 << 20))
        assert caught.value.code == "store_error"


def test_a_put_after_a_refused_one_uses_the_same_store_again(ours: Credentials, tmp_path: Path) -> None:
    with serve(webdav_app(tmp_path), ours) as url, connect(url, ours) as remote:
        put(remote)
        with pytest.raises(KeyfoldError):
            put(remote, b"another")
        assert get(remote) == b"x" * 1000
