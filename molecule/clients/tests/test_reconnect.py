"""A program of p11-kit, which is told nothing but a token's name, and whose partition's tunnel goes away under it.

The role has set p11-kit up: partition initech is in client_reconnect_partitions, acme is not.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from scenario.application import LIBRARIES, REMOTE
from scenario.cluster import Cluster
from scenario.machines import Machine, client
from scenario.runs import Run, held_since, read_runs
from scenario.shop import service
from scenario.waiting import wait_for

PROXY = f"{LIBRARIES}/p11-kit-proxy.so"
KEY = "held"


@dataclass(frozen=True)
class Program:
    """held_session.py over p11-kit as the partition's user, with its files in a directory of that user."""

    machine: Machine
    partition: str
    directory: str

    @property
    def user(self) -> str:
        return f"kf-{self.partition}"

    @contextmanager
    def running(self) -> Iterator[None]:
        held = f"exec python3 {self.directory}/held_session.py pykcs11 {PROXY} {self.partition} pin {KEY} >runs 2>&1"
        with service(self.machine, "held", "bash", "-uc", f"cd {self.directory}; {held}", user=self.user):
            yield

    def runs(self) -> list[Run]:
        return read_runs(self.machine, f"{self.directory}/runs")

    def tool(self, action: str) -> None:
        """pkcs11-tool straight through p11-kit-client, with the PIN from the file."""
        address = f"P11_KIT_SERVER_ADDRESS=unix:path=/run/keyfold-client/{self.partition}/pkcs11.sock"
        script = f"""
            PIN=$(cat {self.directory}/pin) {address} timeout 30 \\
              pkcs11-tool --module {REMOTE} --login --pin env:PIN --label {KEY} --id 77 {action}"""
        self.machine.run("bash", "-euc", script, user=self.user)


@pytest.fixture
def program(cluster: Cluster, request: pytest.FixtureRequest) -> Iterator[Program]:
    machine, partition = cluster.app, request.param
    here = Program(machine, partition, f"/var/tmp/held-{partition}")
    machine.run("install", "-d", "-o", here.user, "-m", "700", here.directory)
    for name, content in (("pin", cluster.pin(partition)), ("held_session.py", client("held_session.py"))):
        machine.run("install", "-o", here.user, "-m", "400", "/dev/stdin", f"{here.directory}/{name}", stdin=content)
    here.tool("--keypairgen --key-type EC:prime256v1")
    yield here
    for kind in ("privkey", "pubkey"):
        here.tool(f"--delete-object --type {kind}")
    machine.run("rm", "-r", here.directory)


@pytest.mark.parametrize(
    ("program", "notices"), [("initech", False), ("acme", True)], indirect=["program"], ids=["reconnects", "plain"]
)
def test_only_a_partition_that_the_role_was_told_to_connect_again_outlives_its_tunnel(
    program: Program, notices: bool
) -> None:
    with program.running():
        wait_for(lambda: held_since(0, program.runs()), "two signatures", 30)
        program.machine.run("systemctl", "restart", f"keyfold-client@{program.partition}.service")
        restarted = time.time()
        wait_for(lambda: held_since(restarted, program.runs()), "two signatures over the new tunnel", 30)
    assert any(not run.held for run in program.runs()) == notices
