"""Whole agents in one process over a real etcd, SoftHSM files and inotify; only systemd and users are left out."""

from __future__ import annotations

import contextlib
import json
import os
import random
import socket
import subprocess
import threading
import time
import uuid
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keyfold.agent.client import AgentClient
from keyfold.agent.handover import Handover, Pins
from keyfold.agent.machine import Machine
from keyfold.agent.main import operations
from keyfold.agent.server import AgentServer
from keyfold.agent.service import Service
from keyfold.clock import SystemClock
from keyfold.config import Config, Package
from keyfold.custody.conf import write_softhsm2_conf
from keyfold.partition import policy_file
from keyfold.replication.base import Base
from keyfold.store import StoreConfig, open_store
from keyfold.store.interface import MAX_TXN_OPS

ROOT = bytes(range(32))
SYSTEM_PIN = "5" * 64
PIN, SO_PIN = "user-pin-1", "so-pin-12"
# Nobody has its identity: the tests know the PINs that `LiveNode` draws.
SUBSCRIBER_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
PACKAGES = {"ECO": Package("ECO", 10 * 1024 * 1024, "always"), "SBX": Package("SBX", 10 * 1024 * 1024, "never")}


def wait_for(condition: Callable[[], Any], seconds: float = 20.0, what: str = "condition") -> Any:
    """Poll until it is true; AssertionError names what did not come."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.005)
    raise AssertionError(f"{what} did not come within {seconds:g} s")


class Etcd:
    """One member on loopback."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        client, peer = (_free_port() for _ in range(2))
        self.url = f"http://127.0.0.1:{client}"
        self._peer = f"http://127.0.0.1:{peer}"
        self._process: subprocess.Popen[bytes] | None = None
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            ["etcd", "--name=keyfold", f"--data-dir={self._directory}", "--log-level=error", "--unsafe-no-fsync"]
            + [f"--max-txn-ops={MAX_TXN_OPS}"]
            + [f"--{kind}-client-urls={self.url}" for kind in ("listen", "advertise")]
            + [f"--listen-peer-urls={self._peer}", f"--initial-advertise-peer-urls={self._peer}"]
            + [f"--initial-cluster=keyfold={self._peer}"],
            stderr=subprocess.DEVNULL,
        )

    def stop(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()


class LocalMachine(Machine):
    """Everything belongs to the user who runs the tests."""

    def __init__(self, config: Config) -> None:
        super().__init__(config)
        self._root = config

    def provision(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._kept.write_text(json.dumps({"partitions": list(rows)}))
        for row in rows:
            home = self._root.partition_directory(str(row["name"]))
            (home / "tokens").mkdir(parents=True, exist_ok=True)
            write_softhsm2_conf(home)
        policy_file.publish(self._root.run / "policy", rows)

    def owner(self, name: str) -> tuple[int, int]:
        return os.getuid(), os.getgid()


class LiveJournal:
    """What journald would have: `entries` are the fields of each."""

    def __init__(self) -> None:
        self.entries: list[Mapping[str, str]] = []

    def send(self, message: str, priority: int, fields: Mapping[str, str]) -> None:
        self.entries.append({"MESSAGE": message, "PRIORITY": str(priority), **fields})


class LiveNode:
    """`kill` ends the agent without any clean-up of what it had done; `start` brings a new one up on the same disk."""

    def __init__(self, name: str, url: str, cluster_uuid: str, directory: Path) -> None:
        self.config = Config(
            cluster_uuid=cluster_uuid,
            cluster_name="test",
            node=name,
            site=f"dc-{name}",
            site_role="backup",
            etcd=StoreConfig((url,)),
            store=None,
            packages=PACKAGES,
            state=directory / name,
            run=directory / name / "run",
        )
        (self.config.state / "agent").mkdir(parents=True)
        self.client = AgentClient(self.config.agent_socket)
        self.journal = LiveJournal()
        self.start()

    def start(self) -> None:
        base = Base(self.config.state / "agent" / "base.sqlite")
        store = open_store(self.config.etcd)
        machine = LocalMachine(self.config)
        self.service = Service(self.config, store, machine, base, SystemClock(), journal=self.journal)
        handover = Handover(store, draw=lambda: Pins(PIN, SO_PIN))
        self._server = AgentServer(
            self.config.agent_socket, operations(self.service, handover), self.config.callers_per_partition
        )
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        self.service.start()

    def await_level(self, seconds: float = 60.0) -> None:
        """Until nothing keeps the node from being level with etcd; otherwise its own words say what does."""
        try:
            wait_for(lambda: not self.service.problem, seconds)
        except AssertionError:
            raise AssertionError(f"{self.config.node}, after {seconds:g} s: {self.service.problem}") from None

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self.service.stop()

    def home(self, partition: str) -> Path:
        return self.config.partition_directory(partition)

    def environment(self, partition: str) -> dict[str, str]:
        """For a process that uses the partition through keyfold-pkcs11.so on this node."""
        return {
            **os.environ,
            "SOFTHSM2_CONF": str(self.home(partition) / "softhsm2.conf"),
            "KEYFOLD_AGENT_SOCKET": str(self.config.agent_socket),
            "KEYFOLD_PARTITION": partition,
            "KEYFOLD_POLICY": str(self.config.run / "policy" / partition),
        }

    def has(self, partition: str, revision: int) -> bool:
        return partition in self.service.registry.replicas and self.service.applied_revision >= revision


class LiveCluster:
    """`found` False: agents over an empty etcd, which await the genesis or the rebuild of `cluster_uuid`."""

    def __init__(
        self,
        directory: Path,
        names: Sequence[str] = ("hsm1", "hsm2", "hsm3"),
        *,
        cluster_uuid: str | None = None,
        found: bool = True,
        custody: Mapping[str, Any] | None = None,
    ) -> None:
        self.uuid = cluster_uuid or str(uuid.uuid4())
        self._credentials = directory / "credentials"
        self._credentials.mkdir(parents=True)
        (self._credentials / "system.pin").write_text(SYSTEM_PIN)
        self._before = os.environ.get("CREDENTIALS_DIRECTORY")
        os.environ["CREDENTIALS_DIRECTORY"] = str(self._credentials)
        self.etcd = Etcd(directory / "etcd")
        self.nodes = [LiveNode(name, self.etcd.url, self.uuid, directory) for name in names]
        if found:
            self.nodes[0].client.call("cluster_init", name="test", uuid=self.uuid, root=ROOT.hex(), custody=custody)
            self.wait_until_level()

    def wait_until_level(self) -> None:
        for node in self.nodes:
            node.await_level()

    def add_partition(self, name: str, **policy: bool | int) -> None:
        declared = {
            "name": name,
            "package": "ECO",
            "policy": policy,
            "subscriber_key": SUBSCRIBER_KEY,
        }
        reply = self.nodes[0].client.call("partition_apply", partitions=[declared], check=False)
        self.wait(name, reply["revision"])

    def wait(self, partition: str, revision: int) -> None:
        """Until every node has applied the revision."""
        for node in self.nodes:
            wait_for(lambda node=node: node.has(partition, revision), what=f"{node.config.node} at revision {revision}")

    def stop(self) -> None:
        for node in self.nodes:
            node.stop()
        self.etcd.stop()
        if self._before is None:
            del os.environ["CREDENTIALS_DIRECTORY"]
        else:
            os.environ["CREDENTIALS_DIRECTORY"] = self._before


def _free_port() -> int:
    """Below the range that clients are given ports from: one that dials etcd while it is down could be given etcd's own
    port, connect to itself, and keep etcd from coming back.
    """
    while True:
        port = random.randrange(20_000, 32_000)
        with socket.socket() as listener, contextlib.suppress(OSError):
            listener.bind(("127.0.0.1", port))
            return port
