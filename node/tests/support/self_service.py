"""A partition's self-service without systemd: the unit's own program on a listening socket."""

from __future__ import annotations

import socket
import subprocess
import sys
from pathlib import Path

from support.live_cluster import LiveNode


class SelfService:
    """`log`: what it wrote to standard error."""

    def __init__(self, node: LiveNode, partition: str, directory: Path) -> None:
        self.path = directory / "subscriber.sock"
        self._log = directory / "subscriber.log"
        with socket.socket(socket.AF_UNIX) as listener, self._log.open("wb") as log:
            listener.bind(str(self.path))
            listener.listen(64)
            # Descriptor 3 is where systemd hands it over.
            self._process = subprocess.Popen(
                [
                    "sh",
                    "-c",
                    'exec "$0" -m keyfold.subscriber.node.main "$1" 3<&0 </dev/null',
                    sys.executable,
                    partition,
                ],
                stdin=listener,
                stderr=log,
                env=node.environment(partition),
            )

    @property
    def log(self) -> str:
        return self._log.read_text(encoding="utf-8", errors="replace")

    @property
    def running(self) -> bool:
        return self._process.poll() is None

    @property
    def children(self) -> int:
        """Processes of connections, those that have ended and were not waited for included."""
        pid = self._process.pid
        return len(Path(f"/proc/{pid}/task/{pid}/children").read_text(encoding="ascii").split())

    def serves(self, connection: socket.socket) -> bool:
        """Whether the process at the other end is one of its connections'."""
        pid = int.from_bytes(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)[:4], sys.byteorder)
        try:
            parent = Path(f"/proc/{pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()[1]
        except FileNotFoundError:
            return False
        return int(parent) == self._process.pid

    def connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.connect(str(self.path))
        return connection

    def end(self) -> None:
        self._process.kill()
        self._process.wait()
