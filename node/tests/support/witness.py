"""A subscriber whom nothing that others do may concern."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Any

from support.live_cluster import PIN, LiveNode
from support.remote_socket import RemoteSocket

SESSION = Path(__file__).parents[3] / "tests" / "clients" / "pkcs11_session.py"
DIGEST = bytes(32)


class Witness:
    """Subscriber globex, in a process of its own, with a session over the remote protocol that goes on signing."""

    def __init__(self, node: LiveNode, directory: Path, client: str, module: str) -> None:
        self._socket = RemoteSocket(directory / "globex.sock", module, "globex", node.environment("globex"))
        self._process = subprocess.Popen(
            [sys.executable, str(SESSION), client, "globex"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "P11_KIT_SERVER_ADDRESS": self._socket.address},
        )
        self._call("login", pin=PIN)
        self._call("generate_pair", label="witness")

    def sign(self) -> None:
        signature = self._call("sign", label="witness", digest=DIGEST.hex())
        assert self._call("verify", label="witness", digest=DIGEST.hex(), signature=signature)

    def make_a_key(self) -> None:
        """Through the agent, to the end."""
        self._call("generate_secret", label="made")
        self._call("destroy", cls="secret", label="made")

    def leave(self) -> None:
        self._process.kill()
        self._process.wait()
        self._socket.close()

    def _call(self, do: str, **arguments: Any) -> Any:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        print(json.dumps({"do": do, **arguments}), file=self._process.stdin, flush=True)
        return json.loads(self._process.stdout.readline())["ok"]
