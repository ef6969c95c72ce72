"""A tenant who speaks garbage at its sockets harms the process of that connection and nothing else.

Each socket gets KEYFOLD_FUZZ_INPUTS inputs (10,000; in `make fuzz` a million) made from KEYFOLD_FUZZ_SEED. Some come
byte by byte.
"""

from __future__ import annotations

import logging
import os
import random
import re
import socket
import subprocess
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from support.hostile import (
    HEADER,
    Message,
    agent_request,
    hostile_line,
    hostile_message,
    messages,
    request_line,
    say,
    subscriber_request,
)
from support.live_cluster import PIN, LiveCluster, LiveNode, wait_for
from support.remote_socket import RemoteSocket, start_remote
from support.self_service import SelfService
from support.witness import DIGEST, Witness

from keyfold.agent import server
from keyfold.agent.server import Caller
from keyfold.package import SELF_SERVICE_CONNECTIONS

pytestmark = pytest.mark.container

INPUTS = int(os.environ.get("KEYFOLD_FUZZ_INPUTS", "10000"))
SEED = int(os.environ.get("KEYFOLD_FUZZ_SEED", str(random.SystemRandom().randrange(2**32))))
MODULE = os.environ.get("KEYFOLD_PKCS11_MODULE", str(Path(__file__).parents[2] / "pkcs11" / "keyfold-pkcs11.so"))
CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
# How much the agent may grow over all inputs; caches and threads' stacks come and go.
GROWTH_BYTES = 64 * 1024 * 1024
ANSWER_SECONDS = 5.0
LONGEST_ANSWER_BYTES = 1024 * 1024
AT_ONCE = 4
# In one connection, as often as they stand here.
LINES = (1, 1, 5, 20)
# Half-open connections at each socket: the self-service has room for one more.
HELD = SELF_SERVICE_CONNECTIONS - 1
# Names that a test binds to speak as another: it is root itself.
TENANT, STRANGER = b"\0keyfold-tenant-", b"\0keyfold-stranger-"


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LiveNode]:
    live = LiveCluster(tmp_path_factory.mktemp("hostile"), ("hsm1",))
    for name in ("acme", "globex"):
        # A locked login would keep all behind it from being reached.
        live.add_partition(name, max_failures=1_000_000_000, key_extract=True)
    yield live.nodes[0]
    live.stop()


@pytest.fixture(scope="module")
def witness(node: LiveNode, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Witness]:
    found = Witness(node, tmp_path_factory.mktemp("witness"), CLIENT, MODULE)
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


@pytest.fixture
def service(node: LiveNode, tmp_path: Path) -> Iterator[SelfService]:
    found = SelfService(node, "acme", tmp_path)
    yield found
    assert found.running
    found.end()
    assert "defect" not in found.log


@pytest.fixture
def callers(monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent takes connections from the names above for those of a tenant and of a stranger."""
    known = server._caller

    def caller(connection: socket.socket) -> Caller | None:
        name = bytes(connection.getpeername() or b"")
        if name.startswith(STRANGER):
            return None
        return Caller(4711, "acme") if name.startswith(TENANT) else known(connection)

    monkeypatch.setattr(server, "_caller", caller)


@pytest.fixture
def callers_of_service(service: SelfService, monkeypatch: pytest.MonkeyPatch) -> None:
    """The agent takes the self-service's processes for the partition's, as their user says on a node."""
    known = server._caller
    monkeypatch.setattr(server, "_caller", lambda end: Caller(4711, "acme") if service.serves(end) else known(end))


def _to_agent(node: LiveNode, name: bytes) -> socket.socket:
    connection = socket.socket(socket.AF_UNIX)
    connection.bind(name + os.urandom(8).hex().encode())
    connection.connect(str(node.config.agent_socket))
    return connection


@pytest.mark.usefixtures("callers")
def test_hostile_lines_at_the_agents_socket_harm_nobody(node: LiveNode, unharmed: Callable[[], None]) -> None:
    def connect(rng: random.Random) -> socket.socket:
        return _to_agent(node, STRANGER if rng.random() < 0.1 else TENANT)

    def lines(rng: random.Random) -> list[bytes]:
        return [hostile_line(rng, agent_request) for _ in range(rng.choice(LINES))]

    codes = _speak(connect, lines, unharmed)
    assert codes["defect"] == 0
    assert codes["invalid"] > INPUTS / 10


@pytest.mark.usefixtures("callers_of_service")
def test_hostile_lines_at_the_self_service_harm_nobody(service: SelfService, unharmed: Callable[[], None]) -> None:
    def lines(rng: random.Random) -> list[bytes]:
        # After what is no line of JSON it hangs up.
        nearly_right = [request_line(subscriber_request(rng)) for _ in range(rng.choice(LINES) - 1)]
        return [*nearly_right, hostile_line(rng, subscriber_request)]

    codes = _speak(lambda _: service.connect(), lines, unharmed)
    assert codes["defect"] == 0
    assert codes["invalid"] > INPUTS / 10
    assert codes["ok"] > INPUTS / 10
    # What has ended counts against the unit's TasksMax until it is waited for.
    assert service.children <= SELF_SERVICE_CONNECTIONS


def _speak(
    connect: Callable[[random.Random], socket.socket],
    lines: Callable[[random.Random], list[bytes]],
    unharmed: Callable[[], None],
) -> Counter[str]:
    """INPUTS lines; how often each code was answered, and how often all was well."""
    rng = random.Random(SEED)
    codes: Counter[str] = Counter()
    sent = 0
    while sent < INPUTS:
        with connect(rng) as connection:
            connection.settimeout(20)
            said = lines(rng)
            sent += len(said)
            codes.update(_codes(connection, said, slowly=rng.random() < 0.02))
        if sent % 50 < len(said):
            unharmed()
    print(dict(codes))
    return codes


def _codes(connection: socket.socket, lines: list[bytes], *, slowly: bool) -> list[str]:
    """The answers' codes. The other side may hang up while there is more to say."""
    try:
        say(connection, b"".join(lines), slowly=slowly)
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
    found = re.findall(rb'(?<="code":")\w+|(?<= met a )defect', answers)
    return [code.decode() for code in found] + ["ok"] * answers.count(b'{"ok":true')


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


@pytest.mark.usefixtures("callers", "callers_of_service")
def test_half_said_things_at_every_socket_keep_nobody_waiting(
    node: LiveNode, service: SelfService, witness: Witness, unharmed: Callable[[], None], tmp_path: Path
) -> None:
    rng = random.Random(SEED)
    (conversation, *_) = _recorded(node, tmp_path)
    remote = RemoteSocket(tmp_path / "held.sock", MODULE, "acme", node.environment("acme"))
    held: list[tuple[socket.socket, bytes]] = []
    for _ in range(HELD):
        held.append((_to_agent(node, TENANT), hostile_line(rng, agent_request)))
        held.append((service.connect(), hostile_line(rng, subscriber_request)))
        end = socket.socket(socket.AF_UNIX)
        end.connect(str(tmp_path / "held.sock"))
        held.append((end, b"\0" + rng.choice(conversation).encoded()))
    for connection, data in held:
        connection.settimeout(ANSWER_SECONDS)
        say(connection, data[: len(data) // 2], slowly=True)
    for _ in range(20):
        unharmed()
        witness.make_a_key()
    # Their own partition, too, is served beside them.
    with service.connect() as beside:
        beside.settimeout(ANSWER_SECONDS)
        beside.sendall(b'{"op":"policy"}\n')
        assert beside.recv(4096).startswith(b'{"ok":true')
    for connection, data in held:
        with connection:
            _codes(connection, [data[len(data) // 2 :]], slowly=True)
    remote.close()


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
                say(ours, data, slowly=rng.random() < 0.02)
                if not whole:
                    break
                if not _answer(ours):
                    break
            # Both ways: it may be in the middle of an answer that nobody reads.
            ours.shutdown(socket.SHUT_RDWR)
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
    """Read one; False when the other side has hung up, or this side should."""
    header = _exactly(connection, HEADER.size)
    if len(header) < HEADER.size:
        return False
    _, options, body = HEADER.unpack(header)
    # Half a gigabyte of random numbers can be asked for: then it is this side that hangs up.
    return options + body <= LONGEST_ANSWER_BYTES and len(_exactly(connection, options + body)) == options + body


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size and (more := connection.recv(size - len(data))):
        data += more
    return data


def _resident_bytes() -> int:
    """Of this process, in which the agent runs."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")
