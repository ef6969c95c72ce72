"""Try, inside a partition's sandbox, what a program there must not be able to do; prints {attempt: outcome} as JSON."""

from __future__ import annotations

import json
import os
import resource
import socket
from collections.abc import Callable
from pathlib import Path

HOME = Path(os.environ["SOFTHSM2_CONF"]).parent
OTHER = Path("/var/lib/keyfold/partitions/noisy")


def speak(path: str) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(5)
        connection.connect(path)


def ask(request: dict[str, object]) -> dict[str, object]:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.settimeout(20)
        connection.connect("/run/keyfold/agent.sock")
        connection.sendall(json.dumps(request).encode() + b"\n")
        reply: dict[str, object] = json.loads(connection.makefile("rb").readline())
        return reply


def commit_to_another() -> str:
    """Nothing of its own has changed: the agent answers for the caller's partition, whatever is named."""
    reply = ask({"op": "commit", "kind": "update", "partition": "noisy", "objects": []})
    return f"done: its own revision {reply['revision']}" if reply["ok"] else str(reply["code"])


def list_anothers_objects() -> str:
    reply = ask({"op": "object_list", "partition": "noisy"})
    return "done" if reply["ok"] else str(reply["code"])


def write(path: Path) -> None:
    path.write_text("x")
    path.unlink()


def replace_conf() -> None:
    write(HOME / ".new")
    (HOME / "softhsm2.conf").rename(HOME / "softhsm2.conf.old")


def see_processes() -> None:
    uids = {path.stat().st_uid for path in Path("/proc").glob("[0-9]*")}
    if uids - {os.getuid()} == set():
        raise PermissionError("only its own are there")


def network() -> None:
    with socket.create_connection(("127.0.0.1", 9443), timeout=5):
        pass


def fork() -> None:
    if os.fork() == 0:
        os._exit(0)


def raise_limits() -> None:
    resource.setrlimit(resource.RLIMIT_NOFILE, (4096, 4096))


ATTEMPTS: dict[str, Callable[[], object]] = {
    "list another's directory": lambda: list(OTHER.iterdir()),
    "connect to another's socket": lambda: speak("/run/keyfold/partitions/noisy.sock"),
    "connect to its own socket": lambda: speak("/run/keyfold/partitions/acme.sock"),
    "read the node's keys": lambda: list(Path("/etc/keyfold/pki").iterdir()),
    "read the system PIN": lambda: Path("/etc/keyfold/credentials/system.pin").read_text(),
    "replace its softhsm2.conf": replace_conf,
    "write beside its tokens": lambda: write(HOME / "x"),
    "connect to the network": network,
    "connect to haproxy's master": lambda: speak("/run/haproxy-master.sock"),
    "fork": fork,
    "raise its own limits": raise_limits,
    "see another's processes": see_processes,
    "become root": lambda: os.setuid(0),
    "list its own tokens": lambda: list((HOME / "tokens").iterdir()),
    "write a token file": lambda: write(next((HOME / "tokens").iterdir()) / "probe"),
    "commit to another partition": commit_to_another,
    "list another's objects": list_anothers_objects,
}


def outcome(attempt: Callable[[], object]) -> str:
    try:
        said = attempt()
    except (OSError, ValueError) as error:
        return f"{type(error).__name__}: {error}"
    return said if isinstance(said, str) and attempt in (commit_to_another, list_anothers_objects) else "done"


print(json.dumps({name: outcome(attempt) for name, attempt in ATTEMPTS.items()}))
