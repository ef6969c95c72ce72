"""How a watch lives through what its server does to it."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterable
from typing import Any

import pytest
from support.http_script import Talk, answering, read_request, serve

from keyfold.errors import KeyfoldError
from keyfold.store import StoreConfig, open_store
from keyfold.store.etcd.codec import key64
from keyfold.store.etcd.transport import Endpoint
from keyfold.store.etcd.watch import SILENCE_SECONDS

HEADER = b"HTTP/1.0 200 OK\r\nContent-Type: application/json\r\n\r\n"


def line(revisions: Iterable[int], **fields: object) -> bytes:
    events = [{"kv": {"key": key64(f"k{i}"), "mod_revision": str(r)}} for i, r in enumerate(revisions)]
    return json.dumps({"result": {"header": {"revision": "99"}, "events": events, **fields}}).encode() + b"\n"


def asked_from(revision: int, answer: bytes) -> Talk:
    """Check the revision that the watch asks for, then answer and hang up."""

    def talk(connection: socket.socket) -> None:
        request = read_request(connection)
        assert json.loads(request.partition(b"\r\n\r\n")[2])["create_request"]["start_revision"] == str(revision)
        connection.sendall(answer)

    return talk


def test_a_revision_of_which_only_a_part_arrived_is_delivered_once_and_whole_after_resuming() -> None:
    with (
        serve(asked_from(5, HEADER + line([5, 6, 6], fragment=True)), asked_from(6, HEADER + line([6, 6, 6]))) as url,
        open_store(StoreConfig((url,))) as store,
        store.watch("k", 5) as watch,
    ):
        batches = iter(watch)
        assert [event.mod_revision for event in next(batches).events] == [5]
        assert [event.mod_revision for event in next(batches).events] == [6, 6, 6]


def test_an_answer_cut_anywhere_is_resumed_after_what_was_delivered() -> None:
    whole = HEADER + line([5])
    answers = [b"", whole[:20], HEADER, whole[:-3], whole]
    with (
        serve(*(asked_from(5, answer) for answer in answers), asked_from(6, HEADER + line([6]))) as url,
        open_store(StoreConfig((url,))) as store,
        store.watch("k", 5) as watch,
    ):
        batches = iter(watch)
        assert [next(batches).revision, next(batches).revision] == [5, 6]


def test_what_connecting_again_cannot_help_ends_the_watch() -> None:
    denied = b'HTTP/1.0 403 Forbidden\r\n\r\n{"message":"etcdserver: permission denied","code":7}'
    with (
        serve(answering(denied)) as url,
        open_store(StoreConfig((url,))) as store,
        store.watch("k", 5) as watch,
        pytest.raises(KeyfoldError, match="permission denied"),
    ):
        next(iter(watch))


def test_a_watch_closed_while_it_connects_ends_and_does_not_wait_for_events(monkeypatch: pytest.MonkeyPatch) -> None:
    connect = Endpoint.open_stream

    def silent(connection: socket.socket) -> None:
        read_request(connection)
        connection.sendall(HEADER)
        connection.recv(1)

    with serve(silent) as url, open_store(StoreConfig((url,))) as store:
        watch = store.watch("k", 5)

        def connect_and_close(*args: Any, **options: Any) -> socket.socket:
            stream = connect(*args, **options)
            watch.close()
            return stream

        monkeypatch.setattr(Endpoint, "open_stream", connect_and_close)
        begun = time.monotonic()
        assert list(watch) == []
        assert time.monotonic() - begun < SILENCE_SECONDS / 2
