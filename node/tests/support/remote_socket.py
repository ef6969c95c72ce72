"""A subscriber's socket without systemd: one `p11-kit remote` per connection, as the partition's units start it."""

from __future__ import annotations

import socket
import subprocess
import threading
from collections.abc import Mapping
from pathlib import Path


def start_remote(
    module: str, partition: str, environment: Mapping[str, str], end: socket.socket
) -> subprocess.Popen[bytes]:
    """The process that serves one connection; `end` is its standard input and output."""
    return subprocess.Popen(
        ["p11-kit", "remote", "--provider", module, f"pkcs11:token={partition}"],
        stdin=end,
        stdout=end,
        stderr=subprocess.DEVNULL,
        env=dict(environment),
    )


class RemoteSocket:
    """Listens at `path` until closed. `recordings`: what each client said, once it has hung up."""

    def __init__(self, path: Path, module: str, partition: str, environment: Mapping[str, str]) -> None:
        self.address = f"unix:path={path}"
        self.recordings: list[bytes] = []
        self._start = (module, partition, environment)
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        threading.Thread(target=self._accept, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        ours, theirs = socket.socketpair()
        process = start_remote(*self._start, theirs)
        theirs.close()
        threading.Thread(target=_pump, args=(ours, client), daemon=True).start()
        said = _pump(client, ours)
        process.wait()
        self.recordings.append(said)


def _pump(source: socket.socket, target: socket.socket) -> bytes:
    """Until the source ends; what went through."""
    passed = bytearray()
    try:
        while data := source.recv(65536):
            passed += data
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass
    return bytes(passed)
