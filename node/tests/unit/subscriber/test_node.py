"""Whatever a client sends, the node answers or ends that connection alone, and never about another partition."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.memory_token import MemoryToken, store
from support.subscriber_node import PIN, RecordingAgent, opener, serving

from keyfold.errors import KeyfoldError
from keyfold.subscriber import protocol
from keyfold.subscriber.client.connection import Connection, partition_of
from keyfold.subscriber.node.conversation import Conversation


@pytest.fixture
def agent(tmp_path: Path) -> RecordingAgent:
    return RecordingAgent(tmp_path / "calls")


@pytest.fixture
def path(tmp_path: Path, agent: RecordingAgent) -> Iterator[Path]:
    with serving(tmp_path / "node.sock", agent, MemoryToken(store())):
        yield tmp_path / "node.sock"


def speak(path: Path, raw: bytes) -> bytes:
    """All that comes back for these bytes."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(path))
        connection.sendall(raw)
        connection.shutdown(socket.SHUT_WR)
        return b"".join(iter(lambda: connection.recv(65536), b""))


def test_a_partition_that_a_request_names_is_not_handed_on(path: Path, agent: RecordingAgent) -> None:
    with Connection(path) as node:
        node.ask("policy", partition="globex", uid=0)
        node.ask("objects", partition="globex", invalidated=True)
        node.ask("invalidation", keep=False, partition="globex")
    assert agent.calls == [
        {"op": "subscriber_policy"},
        {"op": "subscriber_objects", "invalidated": True},
        {"op": "subscriber_invalidation", "keep": False},
    ]


@pytest.mark.parametrize(
    "op", ["status", "partition_apply", "commit", "subscriber_policy", "snapshot", "subscriber_note"]
)
def test_the_agents_own_operations_are_not_to_be_had(path: Path, agent: RecordingAgent, op: str) -> None:
    with Connection(path) as node, pytest.raises(KeyfoldError) as refused:
        node.ask(op, partition="acme")
    assert refused.value.code == "invalid"
    assert agent.calls == []


@pytest.mark.parametrize(
    "raw",
    [
        b"\n",
        b"\0" * 100 + b"\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"[]\n",
        b'"op"\n',
        b'{"op":["policy"]}\n',
        b"{" * 100_000 + b"\n",
        b"[" * 100_000 + b"\n",
        b'{"op":"policy"',
        b"\xff\xfe{}\n",
        b'{"op":"export","pin":7,"selection":[],"modulus":{},"exponent":null}\n',
        b'{"op":"import_object","object":{"class":["data"]}}\n',
        b'{"op":"import_discard"}\n',
    ],
)
def test_garbage_is_answered_and_the_next_connection_is_served(path: Path, raw: bytes) -> None:
    reply = json.loads(speak(path, raw).splitlines()[0])
    assert (reply["ok"], reply["code"]) == (False, "invalid")
    with Connection(path) as node:
        assert node.ask("policy")["partition"] == "acme"


def test_a_line_without_end_is_cut_off(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reply = json.loads(speak(path, b"x" * (protocol.MAX_LINE_BYTES + 2)))
    assert "longer" in reply["what"]


def test_the_agents_refusal_reaches_the_client_whole(path: Path) -> None:
    with Connection(path) as node, pytest.raises(KeyfoldError) as refused:
        node.ask("restore_points")
    assert (refused.value.code, refused.value.what, refused.value.next_step) == ("no_quorum", "no majority", "wait")


def test_a_defect_is_told_without_what_it_was_about(path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    with Connection(path) as node, pytest.raises(KeyfoldError) as refused:
        node.ask("quota")
    assert refused.value.code == "internal"
    assert "4711" not in str(refused.value) + capfd.readouterr().err


def test_one_who_is_silent_is_let_go(tmp_path: Path, agent: RecordingAgent, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("support.subscriber_node._Handler.timeout", 0.2)
    with serving(tmp_path / "quick.sock", agent, None), socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(10)
        connection.connect(str(tmp_path / "quick.sock"))
        assert connection.recv(1) == b""


def test_the_process_ends_when_nobody_asks(tmp_path: Path, agent: RecordingAgent) -> None:
    from keyfold.subscriber.node.main import SubscriberServer

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "idle.sock"))
        listener.listen()
        server = SubscriberServer(listener, "acme")
        server.timeout = 0.05
        begun = time.monotonic()
        while not server.idle:
            server.handle_request()
        assert time.monotonic() - begun < 5


JSON: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.sampled_from(["AAAA", "private", "data", PIN]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
FIELDS = st.sampled_from(
    [
        "pin",
        "selection",
        "modulus",
        "exponent",
        "objects",
        "keys",
        "kek",
        "object",
        "digest",
        "keep",
        "class",
        "attributes",
    ]
)
OPS = st.sampled_from(["policy", "export", "import_begin", "import_key", "import_object", "import_discard"])


@pytest.mark.exhaustive
@given(st.lists(st.tuples(OPS | st.text(max_size=5), st.dictionaries(FIELDS, JSON)), max_size=5))
def test_no_order_and_no_value_of_requests_is_a_defect(
    tmp_path_factory: pytest.TempPathFactory, requests: list[tuple[str, dict[str, Any]]]
) -> None:
    agent = RecordingAgent(Path(tmp_path_factory.getbasetemp()) / "fuzzed", key_extract=True)
    conversation = Conversation(agent, opener(MemoryToken(store())))
    for op, fields in requests:
        with suppress(KeyfoldError):
            assert all(reply["ok"] is True for reply in conversation.answer({"op": op, "pin": PIN, **fields}))


@pytest.mark.parametrize(
    ("asked", "known", "code"),
    [(None, [], "not_found"), (None, ["acme", "beta"], "invalid"), ("../x", ["acme"], "not_found")],
)
def test_a_partition_without_a_tunnel_is_refused_by_name(asked: str | None, known: list[str], code: str) -> None:
    with pytest.raises(KeyfoldError) as refused:
        partition_of(asked, known)
    assert refused.value.code == code
    assert partition_of(None, ["acme"]) == "acme"
    assert partition_of("beta", ["acme", "beta"]) == "beta"
