"""What a package limits, and that a partition at its limits leaves the others what is theirs."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Callable, Iterator

import pytest
from scenario.application import KEYFOLD, REMOTE, Application, Pkcs11Error
from scenario.cluster import Cluster, keyfold
from scenario.connections import Held
from scenario.identities import issued
from scenario.machines import client
from scenario.waiting import wait_for

SBX_CONNECTIONS = 16
ECO_CONNECTIONS = 64
# As many as the largest package's subscriber connections, and self-service's.
AGENT_CONNECTIONS = 256 + 8
SECONDS = 6
# Five processes hand a signature on (application, stunnel, HAProxy, p11-kit remote, and back). On each of two cores
# half of the noisy partition's connections want to run; before each hand-over the quiet one waits at most one time
# slice of 4 ms for each of those: 5 × 8 × 4 ms, on top of what it waits for the machine's other work. A partition that
# starved would wait as long as the load lasts.
P99_MS = 160.0


def apply(cluster: Cluster, name: str, package: str) -> None:
    declared = {"partitions": [{"name": name, "package": package}]}
    keyfold(cluster.node("hsm1"), "partition", "apply", stdin=json.dumps(declared))
    cluster.await_level()


@pytest.fixture
def restored(cluster: Cluster) -> Iterator[None]:
    yield
    apply(cluster, "noisy", "SBX")


def test_a_partition_has_as_many_connections_as_its_package_and_no_more(cluster: Cluster) -> None:
    with Held(cluster.app, "hsm1", issued("partition-noisy"), SBX_CONNECTIONS + 4) as noisy:
        assert noisy.open == SBX_CONNECTIONS
        with Held(cluster.app, "hsm1", issued("partition-acme"), 4) as acme:
            assert acme.open == 4


def test_another_package_has_other_limits_and_cuts_no_connection(cluster: Cluster, restored: None) -> None:
    with (
        Held(cluster.app, "hsm1", issued("partition-noisy"), SBX_CONNECTIONS) as before,
        Held(cluster.app, "hsm1", issued("partition-acme"), 2) as acme,
    ):
        apply(cluster, "noisy", "ECO")
        shown = cluster.node("hsm1").run("systemctl", "show", "-p", "MaxConnections", "keyfold-partition-noisy.socket")
        assert shown.strip() == f"MaxConnections={ECO_CONNECTIONS}"
        with Held(cluster.app, "hsm1", issued("partition-noisy"), 4) as more:
            assert more.open == 4
            nice = cluster.node("hsm1").shell("ps -o ni= -p $(pgrep -n -u kf-noisy p11-kit)")
            assert nice.strip() == "5"
        assert before.ended(0.5) is None
        assert acme.ended(0.5) is None


def test_a_partitions_processes_cannot_use_up_the_agents_socket(
    cluster: Cluster, session: Callable[..., Application], tag: str
) -> None:
    wanted = AGENT_CONNECTIONS + 40
    # Who is refused hears so at once.
    flood = (
        "import select, socket, sys\nopen_ = []\n"
        f"for _ in range({wanted}):\n"
        "    s = socket.socket(socket.AF_UNIX); s.connect('/run/keyfold/agent.sock'); open_.append(s)\n"
        "refused = 0\n"
        f"while ready := select.select(open_, [], [], 60 if refused < {wanted - AGENT_CONNECTIONS} else 3)[0]:\n"
        "    for s in ready:\n        refused += b'denied' in s.recv(4096); open_.remove(s)\n"
        "print(len(open_), refused, flush=True)\nsys.stdin.read()\n"
    )
    node = cluster.node("hsm1")
    with subprocess.Popen(
        node.command("python3", "-c", flood, user="kf-noisy"), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as flooding:
        try:
            assert flooding.stdout is not None
            held, refused = map(int, flooding.stdout.readline().split())
            assert held == AGENT_CONNECTIONS
            assert held + refused == wanted
            session(node).call("generate_secret", label=f"{tag}-flooded")
        finally:
            # Not killed, for docker's client would leave the connections; the block awaits its end.
            assert flooding.stdin is not None
            flooding.stdin.close()


def load(cluster: Cluster, partition: str, processes: int, seconds: int, nice: int) -> subprocess.Popen[str]:
    """tests/clients/sign_load.py on the subscriber's machine; has begun when this returns."""
    address = {"P11_KIT_SERVER_ADDRESS": f"unix:path=/run/keyfold-client/{partition}/pkcs11.sock"}
    arguments = (REMOTE, partition, f"{partition}-load", str(processes), str(seconds), str(nice), "0")
    running = subprocess.Popen(
        cluster.app.command("python3", "-c", client("sign_load.py"), *arguments, user=f"kf-{partition}", env=address),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert running.stdin is not None
    assert running.stdout is not None
    running.stdin.write(cluster.pin(partition) + "\n")
    running.stdin.flush()
    assert json.loads(running.stdout.readline())["ready"]
    running.stdin.write("\n")
    running.stdin.flush()
    return running


def result(running: subprocess.Popen[str]) -> dict[str, float]:
    out, _ = running.communicate(timeout=180)
    said: dict[str, float] = json.loads(out)
    return said


def test_a_partition_at_full_load_does_not_starve_another(cluster: Cluster) -> None:
    for partition in ("acme", "noisy"):
        with cluster.subscriber(partition) as application:
            if f"{partition}-load" not in application.labels():
                application.call("generate_pair", label=f"{partition}-load")
    # The applications above end a moment after they were killed, and count until then.
    wait_for(lambda: not cluster.node("hsm1").attempt("pgrep", "-u", "kf-noisy", "p11-kit").stdout, "nobody connected")
    alone = [result(load(cluster, "acme", 1, 2, 0))]
    # The noisy subscriber's own programs stand for other machines: they give way, its processes on the node do not.
    noisy = load(cluster, "noisy", SBX_CONNECTIONS, SECONDS + 2, 19)
    beside = result(load(cluster, "acme", 1, SECONDS, 0))
    loud = result(noisy)
    alone.append(result(load(cluster, "acme", 1, 2, 0)))
    print(f"alone {alone}, beside {beside}, the load {loud}")
    assert (loud["sessions"], loud["failed"], beside["failed"]) == (SBX_CONNECTIONS, 0, 0)
    assert loud["signatures"] > 10 * SECONDS, "there was no load"
    assert beside["p99_ms"] <= max(one["p99_ms"] for one in alone) + P99_MS, (alone, beside, loud)


def test_only_approved_mechanisms_work_in_a_partition_that_has_a_list(
    cluster: Cluster, session: Callable[..., Application], tag: str
) -> None:
    node = cluster.node("hsm1")
    listed = node.run(
        "env",
        "SOFTHSM2_CONF=/var/lib/keyfold/partitions/acme-labs/softhsm2.conf",
        *("pkcs11-tool", "--module", KEYFOLD, "--list-mechanisms"),
        user="kf-acme-labs",
    )
    assert "ECDSA" in listed
    assert "MD5" not in listed
    application = session(node, "acme-labs")
    application.call("generate_rsa_pair", label=tag)
    with pytest.raises(Pkcs11Error, match="CKR_MECHANISM_INVALID"):
        application.call("sign", label=tag, digest="00" * 32)


def test_an_agent_that_says_it_is_ready_commits(
    cluster: Cluster, session: Callable[..., Application], tag: str
) -> None:
    node = cluster.node("hsm1")
    application = session(node)
    for number in range(3):
        node.run("systemctl", "restart", "keyfold-agent")
        application.call("generate_secret", label=f"{tag}-{number}")


def test_idle_partitions_have_no_process(cluster: Cluster) -> None:
    assert cluster.node("hsm2").attempt("pgrep", "-u", "kf-acme-labs").stdout == ""
