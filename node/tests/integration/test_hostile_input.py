"""A tenant who speaks garbage at its sockets harms the process of that connection and nothing else.

Each socket gets KEYFOLD_FUZZ_INPUTS inputs (10,000; in `make fuzz` a million) made from KEYFOLD_FUZZ_SEED.
"""

from __future__ import annotations

import json
import logging
import os
import random
import re
import socket
import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support.hostile import HEADER, Message, hostile_line, hostile_message, messages
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.remote_socket import RemoteSocket, start_remote

from keyfold.agent import server
from keyfold.agent.server import Caller

pytestmark = pytest.mark.container

INPUTS = int(os.environ.get("KEYFOLD_FUZZ_INPUTS", "10000"))
SEED = int(os.environ.get("KEYFOLD_FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))
MODULE = os.environ.get("KEYFOLD_PKCS11_MODULE", str(Path(__file__).parents[2] / "pkcs11" / "keyfold-pkcs11.so"))
CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
SESSION = Path(__file__).parents[3] / "tests" / "clients" / "pkcs11_session.py"
DIGEST = bytes(32)
# How much the agent may grow over all inputs; caches and threads' stacks come and go.
GROWTH_BYTES = 64 * 1024 * 1024
ANSWER_SECONDS = 5.0
AT_ONCE = 4


class Witness:
    """Another subscriber, globex, in a process of its own, with a session that goes on signing."""

    def __init__(self, node: LiveNode, directory: Path) -> None:
        self._socket = RemoteSocket(directory / "globex.sock", MODULE, "globex", node.environment("globex"))
        self._process = subprocess.Popen(
            [sys.executable, str(SESSION), CLIENT, "globex"],
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


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    live = LiveCluster(tmp_path_factory.mktemp("hostile"), ("hsm1",))
    for name in ("acme", "globex"):
        live.add_partition(name)
    yield live.nodes[0]
    live.stop()


@pytest.fixture(scope="module")
def witness(node: LiveNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    found = Witness(node, tmp_path_factory.mktemp("witness"))
    yield found
    found.leave()


@pytest.fixture
def unharmed(node: LiveNode, witness: Witness, caplog: pytest.LogCaptureFixture) -> Iterator[Callable[[], None]]:
    """Call it from time to time: the witness signs. At the end the agent is as it was, and met no defect of its own."""
    print(f"KEYFOLD_FUZZ_SEED={SEED}")
    caplog.set_level(logging.ERROR)
    witness.make_a_key()
    before, threads = _resident_bytes(), threading.active_count()
    yield witness.sign
    witness.sign()
    witness.make_a_key()
    assert node.client.call("status")["quorum"]
    assert not [record.getMessage() for record in caplog.records if "defect" in record.getMessage()]
    wait_for(lambda: threading.active_count() <= threads + 2, 20, "the end of the connections' threads")
    assert _resident_bytes() - before < GROWTH_BYTES
    listed = {row["file"]: row["digest"] for row in node.client.call("object_list", partition="acme")["objects"]}
    assert node.client.call("local_digests", partition="acme")["digests"] == listed


def test_hostile_lines_at_the_agents_socket_harm_nobody(
    node: LiveNode, unharmed: Callable[[], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    rng = random.Random(SEED)
    known = server._caller
    marks: dict[bytes, Caller | None] = {}

    def caller(connection: socket.socket) -> Caller | None:
        # The test is root; a connection from a name it bound itself is a tenant's or a stranger's.
        return marks.get(bytes(connection.getpeername() or b""), known(connection))

    monkeypatch.setattr(server, "_caller", caller)
    codes: Counter[str] = Counter()
    sent = 0
    while sent < INPUTS:
        name = f"\0keyfold-hostile-{os.getpid()}-{sent}"
        marks[name.encode()] = None if rng.random() < 0.1 else Caller(4711, "acme")
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.bind(name)
            connection.connect(str(node.config.agent_socket))
            lines = [hostile_line(rng) for _ in range(rng.choice((1, 1, 5, 20)))]
            sent += len(lines)
            codes.update(_codes(connection, lines))
        del marks[name.encode()]
        if sent % 50 < len(lines):
            unharmed()
    print(dict(codes))
    assert codes["defect"] == 0
    assert codes["invalid"] > INPUTS / 10


def _codes(connection: socket.socket, lines: list[bytes]) -> list[str]:
    """The answers' codes. The agent may hang up while there is more to say."""
    try:
        connection.sendall(b"".join(lines))
        connection.shutdown(socket.SHUT_WR)
    except (BrokenPipeError, ConnectionResetError):
        pass
    answers = b""
    try:
        while data := connection.recv(65536):
            answers += data
    except ConnectionResetError:
        pass
    # `internal` is also the right answer to who announces objects that are not there.
    found = re.findall(rb'(?<="code":")\w+|(?<=the agent met a )defect', answers)
    return [code.decode() for code in found]


def test_hostile_messages_at_the_subscribers_socket_end_their_own_process_at_most(
    node: LiveNode, unharmed: Callable[[], None], tmp_path: Path
) -> None:
    conversations = _recorded(node, tmp_path)
    everything = [message for conversation in conversations for message in conversation]
    ends: Counter[str] = Counter()

    def converse(number: int) -> int:
        # Each has random numbers of its own, so that a seed makes the same whatever runs beside it.
        rng = random.Random(f"{SEED} {number}")
        return _converse(rng, node, rng.choice(conversations), everything, ends)

    sent = begun = 0
    with ThreadPoolExecutor(AT_ONCE) as pool:
        while sent < INPUTS:
            sent += sum(pool.map(converse, range(begun, begun + 100)))
            begun += 100
            unharmed()
    print(f"{sent} inputs; how the connections' processes ended: {dict(ends)}")


def _recorded(node: LiveNode, directory: Path) -> list[list[Message]]:
    """What pkcs11-tool says when it uses acme."""
    remote = RemoteSocket(directory / "acme.sock", MODULE, "acme", node.environment("acme"))
    environment = {**os.environ, "P11_KIT_SERVER_ADDRESS": remote.address, "PIN": PIN}
    (directory / "data").write_bytes(DIGEST)
    signing = ["--sign", "--mechanism", "ECDSA", "--id", "01", "--input-file", str(directory / "data")]
    uses = (
        ["--keypairgen", "--key-type", "EC:prime256v1", "--label", "fuzzed", "--id", "01"],
        [*signing, "--output-file", str(directory / "signature")],
        ["--keygen", "--key-type", "AES:32", "--label", "fuzzed", "--id", "02"],
        ["--test"],
        ["--list-objects"],
        ["--list-mechanisms"],
        ["--write-object", str(directory / "data"), "--type", "data", "--label", "fuzzed"],
        ["--delete-object", "--type", "secrkey", "--id", "02"],
    )
    for use in uses:
        tool = ["pkcs11-tool", "--module", CLIENT, "--login", "--pin", "env:PIN", *use]
        subprocess.run(tool, env=environment, capture_output=True, check=use != ["--test"], timeout=60)
    wait_for(lambda: len(remote.recordings) >= len(uses), what="the recordings")
    remote.close()
    return [messages(said) for said in remote.recordings if len(said) > 100]


def _converse(
    rng: random.Random, node: LiveNode, conversation: list[Message], everything: list[Message], ends: Counter[str]
) -> int:
    """One connection: a recorded conversation, some of its messages hostile. How many those were."""
    ours, theirs = socket.socketpair()
    process = start_remote(MODULE, "acme", node.environment("acme"), theirs)
    theirs.close()
    hostile = 0
    with ours:
        ours.settimeout(ANSWER_SECONDS)
        try:
            ours.sendall(b"\0" if rng.random() < 0.98 else rng.randbytes(1))
            ours.recv(1)
            # The first calls have to be right, or nothing behind them is reached.
            for number, message in enumerate(conversation):
                data, whole = message.encoded(), True
                if (number > 3 and rng.random() < 0.5) or rng.random() < 0.02:
                    data, whole = hostile_message(rng, message, everything)
                    hostile += 1
                ours.sendall(data)
                if not whole:
                    break
                if not _answer(ours):
                    break
            ours.shutdown(socket.SHUT_WR)
        except (BrokenPipeError, ConnectionResetError):
            ends["hung up"] += 1
        except TimeoutError:
            # A call that takes its time (a large RSA key) is this process's own affair.
            ends["slow"] += 1
            process.kill()
        try:
            process.wait(timeout=ANSWER_SECONDS)
        except subprocess.TimeoutExpired:
            ends["did not end"] += 1
            process.kill()
            process.wait()
    ends[str(process.returncode)] += 1
    return hostile


def _answer(connection: socket.socket) -> bool:
    """Read one; False when the other side has hung up."""
    header = _exactly(connection, HEADER.size)
    if len(header) < HEADER.size:
        return False
    _, options, body = HEADER.unpack(header)
    return len(_exactly(connection, options + body)) == options + body


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def _resident_bytes() -> int:
    """Of this process, in which the agent runs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
