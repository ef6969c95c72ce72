"""TLS connections to partitions that a test holds open (tests/clients/held_connections.py)."""

from __future__ import annotations

import json
import os
import select
import subprocess
import time
from types import TracebackType
from typing import Self

from scenario.identities import Identity
from scenario.machines import Machine, client, controller_directory

# The first byte of p11-kit's protocol is its version; the service answers with its own.
P11_KIT_VERSION = "00"


class Held:
    """`open`: how many of the connections were let in."""

    def __init__(
        self,
        machine: Machine,
        node: str,
        who: Identity,
        count: int = 1,
        *,
        server_name: str = "",
        first: str = P11_KIT_VERSION,
    ) -> None:
        order = {
            "host": node,
            "port": 9443,
            "authority": (controller_directory() / "pki/ca.crt").read_text(),
            "certificate": who.certificate,
            "key": who.key,
            "server_name": server_name or node,
            "count": count,
            "first": first,
        }
        self._process = subprocess.Popen(
            machine.command("python3", "-c", client("held_connections.py")),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        self._said = b""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(order).encode() + b"\n")
        self._process.stdin.flush()
        self.open = int(self._line(300.0)["open"])

    def ended(self, seconds: float) -> float | None:
        """Seconds until the next of them ended; None if none does within so many."""
        try:
            return self._line(seconds)["ended"]
        except TimeoutError:
            return None

    def _line(self, seconds: float) -> dict[str, float]:
        """TimeoutError if none comes within so many seconds. Buffered here, for select sees no reader's buffer."""
        assert self._process.stdout is not None
        deadline = time.monotonic() + seconds
        while b"\n" not in self._said:
            readable, _, _ = select.select([self._process.stdout], [], [], max(deadline - time.monotonic(), 0))
            if not readable:
                raise TimeoutError
            more = os.read(self._process.stdout.fileno(), 65536)
            assert more, "held_connections.py has ended"
            self._said += more
        first, _, self._said = self._said.partition(b"\n")
        line: dict[str, float] = json.loads(first)
        return line

    def close(self) -> None:
        """Ended, with its connections, when this returns: a killed `docker exec` would leave them."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(timeout=60)
        finally:
            self._process.kill()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
