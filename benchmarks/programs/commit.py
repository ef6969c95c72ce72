"""Time the commit alone: commit.py PARTITION; operation `commit LABEL`.

Does what keyfold-pkcs11.so does around C_CreateObject (docs/interfaces.md §3), SoftHSM's part being outside the
measured time: lock, connect, create; then request and reply are timed. The object is destroyed and that committed too.
"""

import fcntl
import json
import os
import socket
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from benchmarks.programs.subscriber import SOFTHSM, Token, serve

_AGENT = "/run/keyfold/agent.sock"
_SECRET_KEY = 4  # CKO_SECRET_KEY


class Partition:
    def __init__(self, name: str) -> None:
        self._home = Path(f"/var/lib/keyfold/partitions/{name}")
        self._token = Token(SOFTHSM, name)

    def commit(self, label: str) -> Mapping[str, float]:
        """Seconds from the request to commit one new object to the agent's reply."""
        with self._locked("create.lock"), closing(_connect()) as agent:
            handle = self._token.create_secret(label)
            begun = time.monotonic()
            _request(agent, "create", [{"class": _SECRET_KEY}])
            seconds = time.monotonic() - begun
        with self._locked("update.lock"), closing(_connect()) as agent:
            self._token.destroy(handle)
            _request(agent, "update", [])
        return {"seconds": seconds}

    @contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        descriptor = os.open(self._home / name, os.O_RDWR)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)


def _connect() -> socket.socket:
    agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    agent.connect(_AGENT)
    return agent


def _request(agent: socket.socket, kind: str, objects: list[dict[str, Any]]) -> None:
    agent.sendall(json.dumps({"op": "commit", "kind": kind, "objects": objects}).encode() + b"\n")
    reply = agent.makefile().readline()
    if not reply.startswith('{"ok":true'):
        sys.exit(f"the agent refused: {reply}")


def main() -> None:
    serve({"commit": Partition(sys.argv[1]).commit})


main()
