"""What happens to a node. Each fault is a context: it holds inside, and is healed at its end."""

from __future__ import annotations

import subprocess
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager

from scenario.machines import Machine
from scenario.waiting import wait_for

Fault = Callable[[Machine], AbstractContextManager[None]]

_TABLE = "inet keyfold_cut"


@contextmanager
def killed(node: Machine, unit: str) -> Iterator[None]:
    """kill -9 of the service's process; systemd starts it again by itself."""
    before = _main_pid(node, unit)
    node.run("systemctl", "kill", "--signal=KILL", unit)
    wait_for(lambda: _main_pid(node, unit) not in ("0", before), f"a new process of {unit}")
    yield


@contextmanager
def frozen(node: Machine, unit: str) -> Iterator[None]:
    """The service does not run on (SIGSTOP), and does not notice."""
    node.run("systemctl", "kill", "--signal=STOP", unit)
    try:
        yield
    finally:
        node.run("systemctl", "kill", "--signal=CONT", unit)


@contextmanager
def powered_off(node: Machine) -> Iterator[None]:
    """The machine stops at once, and boots at the end."""
    _docker("kill", node.container)
    try:
        yield
    finally:
        _docker("start", node.container)
        wait_for(lambda: _booted(node), f"the boot of {node.name}", 180.0)


@contextmanager
def cut_off(node: Machine, peers: Iterable[Machine] = ()) -> Iterator[None]:
    """Packets to and from the peers (all the world, if none are named) vanish in the node's own firewall."""
    names = [peer.name for peer in peers]
    addresses = node.shell(f"getent ahostsv4 {' '.join(names)} | cut -d' ' -f1 | sort -u").split() if names else []
    match = [f"ip {way} {{ {', '.join(addresses)} }}" for way in ("saddr", "daddr")] if names else ["", ""]
    rules = f"""
        table {_TABLE} {{
          chain incoming {{ type filter hook input priority 0; iif lo accept; {match[0]} drop; }}
          chain outgoing {{ type filter hook output priority 0; oif lo accept; {match[1]} drop; }}
        }}
    """
    node.run("nft", "--file", "-", stdin=rules)
    try:
        yield
    finally:
        node.run("nft", "delete", "table", *_TABLE.split())


def _main_pid(node: Machine, unit: str) -> str:
    return node.run("systemctl", "show", "--property=MainPID", "--value", unit).strip()


def _booted(node: Machine) -> bool:
    return node.attempt("systemctl", "is-system-running").stdout.strip() in ("running", "degraded")


def _docker(*arguments: str) -> None:
    subprocess.run(["docker", *arguments], check=True, capture_output=True, timeout=60)
