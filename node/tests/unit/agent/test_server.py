"""The socket: who the caller is decides, garbage is answered, one bad client disturbs nobody."""

from __future__ import annotations

import json
import os
import socket
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from keyfold.agent import server
from keyfold.agent.admin import administrator_only
from keyfold.agent.client import AgentClient
from keyfold.agent.server import AgentServer, Caller, Reply
from keyfold.errors import KeyfoldError


def _echo(caller: Caller, request: Mapping[str, Any]) -> Reply:
    return {"caller": str(caller), "said": request.get("say")}


def _count(caller: Caller, request: Mapping[str, Any]) -> Iterator[Reply]:
    for number in range(3):
        yield {"number": number}


def _refuse(caller: Caller, request: Mapping[str, Any]) -> Reply:
    raise KeyfoldError("conflict", "it is taken", not_done="nothing", next_step="choose another")


def _break(caller: Caller, request: Mapping[str, Any]) -> Reply:
    raise ZeroDivisionError("secret 4711")


@pytest.fixture
def path() -> Iterator[Path]:
    operations = {"echo": _echo, "count": _count, "refuse": _refuse, "break": _break}
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "agent.sock"
        path.parent.chmod(0o711)
        with AgentServer(path, {**operations, "admin": administrator_only(_echo)}, per_uid=3) as running:
            threading.Thread(target=running.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True).start()
            yield path
            running.shutdown()


def send(path: Path, data: bytes) -> bytes:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.settimeout(5)
        connection.connect(str(path))
        connection.sendall(data)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def become(monkeypatch: pytest.MonkeyPatch, caller: Caller | None) -> None:
    monkeypatch.setattr(server, "_caller", lambda connection: caller)


def test_ok_is_the_first_key_of_a_reply_byte_for_byte(path: Path) -> None:
    assert send(path, b'{"op":"echo"}\n').startswith(b'{"ok":true,')
    assert send(path, b'{"op":"refuse"}\n').startswith(b'{"ok":false,')


def test_several_requests_on_one_connection_are_answered_in_turn(path: Path) -> None:
    answers = send(path, b'{"op":"echo","say":1}\n{"op":"echo","say":2}\n').splitlines()
    assert [json.loads(answer)["said"] for answer in answers] == [1, 2]


def test_a_stream_arrives_whole(path: Path) -> None:
    assert [reply["number"] for reply in AgentClient(path).stream("count")] == [0, 1, 2]


def test_an_error_reply_is_raised_as_the_error_it_describes(path: Path) -> None:
    with pytest.raises(KeyfoldError) as caught:
        AgentClient(path).call("refuse")
    assert (caught.value.code, caught.value.next_step) == ("conflict", "choose another")


def test_a_defect_is_answered_without_its_details(path: Path) -> None:
    answer = send(path, b'{"op":"break"}\n')
    assert json.loads(answer)["code"] == "internal"
    assert b"4711" not in answer


@pytest.mark.parametrize(
    "garbage",
    [b"[" * 50_000 + b"\n", b"\n", b"{}\n", b"[1]\n", b"null\n", b'{"op":["x"]}\n', b"\xff\xfe\n", b'{"op":"no"}\n'],
)
def test_garbage_is_refused_and_the_next_caller_served(path: Path, garbage: bytes) -> None:
    assert json.loads(send(path, garbage))["code"] == "invalid"
    assert AgentClient(path).call("echo", say="hello")["said"] == "hello"


def test_the_caller_is_who_the_kernel_says(path: Path) -> None:
    assert AgentClient(path).call("echo", partition="beta")["caller"] == "administrator"


def test_a_partitions_process_is_no_administrator(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, Caller(4711, "acme"))
    with pytest.raises(KeyfoldError) as caught:
        AgentClient(path).call("admin")
    assert caught.value.code == "denied"


def test_a_stranger_is_refused_whatever_is_asked(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, None)
    assert json.loads(send(path, b'{"op":"echo"}\n'))["code"] == "denied"


def test_a_partitions_process_may_not_send_endless_lines(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    become(monkeypatch, Caller(4711, "acme"))
    assert json.loads(send(path, b"x" * 65_536))["code"] == "invalid"


def test_an_agent_that_is_not_there_is_named_with_what_to_run(tmp_path: Path) -> None:
    with pytest.raises(KeyfoldError, match=r"agent\.sock") as caught:
        AgentClient(tmp_path / "agent.sock").call("echo")
    assert caught.value.code == "agent_down"
    assert "systemctl" in caught.value.next_step


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_another_systems_user_is_a_stranger(path: Path) -> None:
    child = os.fork()
    if child == 0:
        os.setuid(65534)
        os._exit(0 if json.loads(send(path, b'{"op":"echo"}\n'))["code"] == "denied" else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_one_users_silent_connections_leave_room_for_the_others(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server, "_uid", lambda connection: 4711)
    become(monkeypatch, Caller(4711, "acme"))
    silent = [_connected(path) for _ in range(3)]
    for connection in silent:  # admitted, not only accepted
        connection.sendall(b'{"op":"echo"}\n')
        assert connection.recv(4096).startswith(b'{"ok":true')
    with _connected(path) as one_more:
        assert json.loads(one_more.recv(4096))["code"] == "denied"
        assert one_more.recv(4096) == b""
    monkeypatch.setattr(server, "_uid", lambda connection: 4712)
    assert send(path, b'{"op":"echo"}\n').startswith(b'{"ok":true')
    monkeypatch.setattr(server, "_uid", lambda connection: 4711)
    for connection in silent:
        connection.close()
    deadline = time.monotonic() + 5
    while not send(path, b'{"op":"echo"}\n').startswith(b'{"ok":true'):
        assert time.monotonic() < deadline, "the closed connections still count"


def _connected(path: Path) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(5)
    connection.connect(str(path))
    return connection
