"""age-plugin-keyfold on PATH for a test's `age`: the program itself, or the same code served by the test's process."""

from __future__ import annotations

import functools
import itertools
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

import keyfold
from keyfold.backup.age_plugin import OpenKeys, serve

# The repository's own node/, so that the plugin runs the code under test.
_NODE = Path(keyfold.__path__[0]).parent

_PROGRAM = """#!{python}
import sys
sys.path.insert(0, {node!r})
from keyfold.backup.age_plugin import serve
{imports}
sys.exit(serve(sys.argv[1:], sys.stdin.buffer, sys.stdout.buffer, lambda: {keys}))
"""

# Lends its input and output to the server, and ends as that says. Little is imported: it starts in a tenth of the time.
_DOOR = """#!{python} -IS
import _socket, sys
server = _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
server.connect({path!r})
streams = b"".join(number.to_bytes(4, sys.byteorder) for number in (0, 1))
server.sendmsg(["\\0".join([{number!r}, *sys.argv[1:]]).encode()], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, streams)])
sys.exit(server.recv(1)[0])
"""


def install(directory: Path, open_keys: OpenKeys, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin, served by this process with the keys that `open_keys` gives."""
    server = _server()
    number = server.add(open_keys)
    _install(directory, _DOOR.format(python=sys.executable, path=server.path, number=number), monkeypatch)


def install_program(directory: Path, root: bytes, cluster_uuid: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin as a program of its own, over these keys in memory."""
    imports = "from keyfold.custody.memory_keys import MemorySystemKeys"
    keys = f"MemorySystemKeys(bytes.fromhex({root.hex()!r}), {cluster_uuid!r})"
    _install(directory, _program(imports, keys), monkeypatch)


def install_on_token(directory: Path, softhsm2_conf: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """From here on `age` of this test finds the plugin with the keys in this system token, PIN from the credential."""
    imports = (
        "from pathlib import Path\n"
        "from keyfold.config import credential\n"
        "from keyfold.custody.token_keys import TokenSystemKeys"
    )
    keys = f"TokenSystemKeys(Path({str(softhsm2_conf)!r}), 'system', credential('system.pin'))"
    _install(directory, _program(imports, keys), monkeypatch)


def _program(imports: str, keys: str) -> str:
    return _PROGRAM.format(python=sys.executable, node=str(_NODE), imports=imports, keys=keys)


def _install(directory: Path, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    directory.mkdir(parents=True, exist_ok=True)
    program = directory / "age-plugin-keyfold"
    program.write_text(text)
    program.chmod(0o700)
    monkeypatch.setenv("PATH", f"{directory}{os.pathsep}{os.environ['PATH']}")


class _Server:
    """Runs the plugin for every door that comes, each in a thread of its own."""

    def __init__(self) -> None:
        self._directory = tempfile.TemporaryDirectory(prefix="keyfold-age-")
        self.path = f"{self._directory.name}/plugin"
        self._keys: dict[str, OpenKeys] = {}
        self._numbers = itertools.count()
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        self._socket.bind(self.path)
        self._socket.listen()
        _thread(self._accept)

    def add(self, open_keys: OpenKeys) -> str:
        number = str(next(self._numbers))
        self._keys[number] = open_keys
        return number

    def _accept(self) -> None:
        while True:
            door, _ = self._socket.accept()
            _thread(functools.partial(self._serve, door))

    def _serve(self, door: socket.socket) -> None:
        # age may have what it wants, or have been ended, before the plugin comes to its own end.
        with door, suppress(BrokenPipeError):
            words, (incoming, outgoing), _, _ = socket.recv_fds(door, 4096, 2)
            number, *arguments = words.decode().split("\0")
            with os.fdopen(incoming, "rb") as source, os.fdopen(outgoing, "wb") as target:
                status = serve(arguments, source, target, self._keys[number])
            door.send(bytes([status]))


def _thread(run: Callable[[], None]) -> None:
    threading.Thread(target=run, name="age-plugin", daemon=True).start()


@functools.cache
def _server() -> _Server:
    return _Server()
