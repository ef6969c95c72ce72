"""A real etcd on loopback: one member or several, plain HTTP or mutual TLS, awaited ready and always ended."""

from __future__ import annotations

import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from keyfold.store import StoreConfig, open_store
from keyfold.store.interface import MAX_TXN_OPS

READY_SECONDS = 20.0


@dataclass(frozen=True)
class TlsFiles:
    """PEM files: the authority, and one leaf without a common name that is server and client at once."""

    ca: Path
    cert: Path
    key: Path


def make_tls_files(directory: Path) -> TlsFiles:
    """A fresh authority, and a leaf of it for 127.0.0.1."""
    directory.mkdir(parents=True, exist_ok=True)
    _certify(directory, "ca", "-subj", "/CN=test CA", "-addext", "keyUsage=critical,keyCertSign,cRLSign")
    signed = ("-CA", "ca.crt", "-CAkey", "ca.key", "-subj", "/O=keyfold/OU=node")
    names = ("-addext", "subjectAltName=IP:127.0.0.1", "-addext", "basicConstraints=critical,CA:FALSE")
    _certify(directory, "leaf", *signed, *names)
    return TlsFiles(directory / "ca.crt", directory / "leaf.crt", directory / "leaf.key")


def _certify(directory: Path, name: str, *options: str) -> None:
    request = ("openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-noenc")
    files = ("-keyout", f"{name}.key", "-out", f"{name}.crt")
    subprocess.run([*request, *files, *options], cwd=directory, check=True, capture_output=True)


class EtcdMember:
    """One etcd process. Its data survives `kill` and `start`."""

    def __init__(self, name: str, directory: Path, tls: TlsFiles | None, options: Sequence[str]) -> None:
        scheme = "https" if tls else "http"
        self.name = name
        self.url = f"{scheme}://127.0.0.1:{_free_port()}"
        self.peer_url = f"http://127.0.0.1:{_free_port()}"
        self.log = directory / f"{name}.log"
        self._command = [
            *("etcd", "--name", name, "--data-dir", str(directory / name), "--logger", "zap"),
            *("--listen-client-urls", self.url, "--advertise-client-urls", self.url),
            *("--listen-peer-urls", self.peer_url, "--initial-advertise-peer-urls", self.peer_url),
            *("--heartbeat-interval", "50", "--election-timeout", "500", "--max-txn-ops", str(MAX_TXN_OPS), *options),
        ]
        if tls:
            self._command += ["--cert-file", str(tls.cert), "--key-file", str(tls.key), "--client-cert-auth"]
            self._command += ["--trusted-ca-file", str(tls.ca)]
        self._process: subprocess.Popen[bytes] | None = None

    def start(self, initial_cluster: str) -> None:
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self._command, "--initial-cluster", initial_cluster], stdout=log, stderr=log
            )

    @property
    def running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone; also when it is hung or has ended."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Inside, the process is stopped: the kernel accepts connections, nobody answers."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self._process.send_signal(signal.SIGCONT)


class EtcdCluster:
    """Members that know one another. `config` is what a node would have in keyfold.toml."""

    def __init__(self, directory: Path, size: int, tls: TlsFiles | None, options: Sequence[str]) -> None:
        self.members = [EtcdMember(f"m{i}", directory, tls, options) for i in range(1, size + 1)]
        self._initial = ",".join(f"{member.name}={member.peer_url}" for member in self.members)
        self.config = StoreConfig(
            tuple(member.url for member in self.members),
            *((tls.ca, tls.cert, tls.key) if tls else ()),
        )

    def start(self, member: EtcdMember) -> None:
        member.start(self._initial)

    def await_ready(self) -> None:
        """Until every member is healthy."""
        deadline = time.monotonic() + READY_SECONDS
        with open_store(self.config) as store:
            while not all(member.healthy for member in store.members()):
                found = [member.error for member in store.members()]
                assert time.monotonic() < deadline, f"etcd is not ready: {found}"
                time.sleep(0.02)


@contextmanager
def etcd_cluster(
    directory: Path, *, size: int = 1, tls: TlsFiles | None = None, options: Sequence[str] = ()
) -> Iterator[EtcdCluster]:
    """A running cluster with its files in `directory`; skips the test where no etcd binary is installed."""
    if shutil.which("etcd") is None:
        pytest.skip("no etcd binary (Debian: etcd-server)")
    cluster = EtcdCluster(directory, size, tls, options)
    try:
        for member in cluster.members:
            cluster.start(member)
        cluster.await_ready()
        yield cluster
    finally:
        for member in cluster.members:
            member.kill()
            shutil.rmtree(directory / member.name, ignore_errors=True)


def await_that(condition: Callable[[], bool], otherwise: str) -> None:
    """Look again and again, for 10 seconds at most."""
    deadline = time.monotonic() + 10.0
    while not condition():
        assert time.monotonic() < deadline, otherwise
        time.sleep(0.02)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
