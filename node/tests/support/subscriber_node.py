"""The other end of keyfold-subscriber for tests: an agent that records, and a node with and without a socket."""

from __future__ import annotations

import json
import multiprocessing
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.memory_token import refuse

from keyfold.errors import KeyfoldError
from keyfold.partition.policy import DEFAULT_POLICY
from keyfold.subscriber.node import main
from keyfold.subscriber.node.conversation import Conversation

PIN = "user-pin-1"


class RecordingAgent:
    """Answers for partition acme."""

    def __init__(self, log: Path, **policy: bool) -> None:
        self._log = log
        self._policy = {**DEFAULT_POLICY, "max_size_bytes": 1000, **policy}
        log.touch()

    @property
    def calls(self) -> list[dict[str, Any]]:
        """Kept in a file: a connection's process is not the test's."""
        return [json.loads(line) for line in self._log.read_text().splitlines()]

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        with self._log.open("a") as file:
            file.write(json.dumps({"op": op, **params}) + "\n")
        if op == "subscriber_restore_points":
            raise KeyfoldError("no_quorum", "no majority", not_done="nothing", next_step="wait")
        if op == "subscriber_quota":
            raise ZeroDivisionError("secret 4711")
        return {"ok": True, "partition": "acme", "policy": self._policy, **params}


class DirectNode:
    """The node without a socket: the twin of `client.connection.Connection`."""

    def __init__(self, conversation: Conversation) -> None:
        self._conversation = conversation

    def ask(self, op: str, **fields: Any) -> dict[str, Any]:
        return next(self._conversation.answer(self._over({"op": op, **fields})))

    def stream(self, op: str, **fields: Any) -> Iterator[dict[str, Any]]:
        for reply in self._conversation.answer(self._over({"op": op, **fields})):
            if reply.get("end"):
                return
            yield reply

    @staticmethod
    def _over(message: dict[str, Any]) -> dict[str, Any]:
        """What JSON makes of it."""
        travelled: dict[str, Any] = json.loads(json.dumps(message))
        return travelled


def opener(token: Any) -> Callable[[str], Any]:
    def open_token(pin: str) -> Any:
        if pin != PIN:
            raise refuse("denied", "the PIN is wrong")
        return token

    return open_token


@contextmanager
def serving(path: Path, agent: Any, token: Any, **limits: float) -> Iterator[None]:
    """The real server on a socket, a process per connection; only the agent and the token are others'."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(16)
        server = _Served(listener, "acme")
        server.served = (agent, token)
        for name, value in limits.items():
            setattr(server, name, value)
        # A process, as on a node: what it forks must not hold what the test's own threads have open.
        process = multiprocessing.get_context("fork").Process(target=server.serve_forever, args=(0.01,), daemon=True)
        process.start()
        yield
        process.terminate()
        process.join()


class _Handler(main._Handler):
    def conversation(self) -> Conversation:
        agent, token = self.server.served  # type: ignore[attr-defined]
        return Conversation(agent, token if callable(token) else opener(token))


class _Served(main.SubscriberServer):
    served: tuple[Any, Any]
    handler = _Handler
