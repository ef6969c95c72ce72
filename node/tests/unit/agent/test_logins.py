"""Logins over the agent's socket: what a connection that goes away leaves behind."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.clocks import StillClock

from keyfold.agent import server as server_module
from keyfold.agent.logins import Logins
from keyfold.agent.server import AgentServer, Caller
from keyfold.lockout.guard import Guard
from keyfold.store.memory import MemoryStore

POLICY = {"max_failures": 2, "window_seconds": 300, "lock_seconds": 300}


class Connection:
    """The PKCS#11 module's side."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._socket.connect(str(path))
        self._lines = self._socket.makefile("rb")

    def ask(self, op: str, **request: Any) -> dict[str, Any]:
        self._socket.sendall(json.dumps({"op": op, **request}).encode() + b"\n")
        reply: dict[str, Any] = json.loads(self._lines.readline())
        return reply

    def close(self) -> None:
        self._lines.close()
        self._socket.close()


@pytest.fixture
def guard() -> Guard:
    return Guard(MemoryStore(), StillClock(), "hsm1", lambda _: POLICY)


@pytest.fixture
def path(guard: Guard, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    monkeypatch.setattr(server_module, "_caller", lambda _: Caller(4711, "acme"))
    server = AgentServer(tmp_path / "agent.sock", Logins(guard).table(), per_uid=8)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    yield tmp_path / "agent.sock"
    server.shutdown()
    server.server_close()


def test_failures_lock_and_the_module_is_told_which_code(path: Path) -> None:
    module = Connection(path)
    for last in (False, True):
        assert module.ask("login_begin", user="user") == {"ok": True}
        assert module.ask("login_result", user="user", ok=False) == {"ok": True, "locked": last}
    refused = module.ask("login_begin", user="user")
    assert (refused["ok"], refused["code"], refused["exit_code"]) == (False, "locked", 15)
    assert module.ask("login_begin", user="so") == {"ok": True}


def test_a_connection_that_closes_before_the_result_counts_as_a_failure(path: Path, guard: Guard) -> None:
    for _ in range(2):
        module = Connection(path)
        assert module.ask("login_begin", user="user")["ok"]
        module.close()
    deadline = time.monotonic() + 5
    while time.monotonic() < deadline:
        refused = Connection(path).ask("login_begin", user="user")
        if not refused["ok"]:
            break
    assert refused["code"] == "locked"


def test_beginning_again_without_a_result_counts_the_first_as_a_failure(path: Path) -> None:
    module = Connection(path)
    assert module.ask("login_begin", user="user")["ok"]
    assert module.ask("login_begin", user="user")["ok"]
    assert module.ask("login_result", user="user", ok=False)["locked"]


@pytest.mark.parametrize(
    ("op", "request_"),
    [
        ("login_begin", {}),
        ("login_begin", {"user": "root"}),
        ("login_begin", {"user": ["user"]}),
        ("login_result", {"user": "user", "ok": True}),
        ("login_result", {"user": "user", "ok": "yes"}),
    ],
)
def test_what_makes_no_sense_is_refused_and_counts_nothing(
    path: Path, guard: Guard, op: str, request_: dict[str, Any]
) -> None:
    assert Connection(path).ask(op, **request_)["code"] == "invalid"
    assert not list(guard._store.scan("/keyfold/v1/logins/"))


def test_a_partitions_process_cannot_ask_for_another_partition(path: Path, guard: Guard) -> None:
    assert Connection(path).ask("login_begin", user="user", partition="globex")["ok"]
    assert {name for name, _ in guard._logins} == {"acme"}
