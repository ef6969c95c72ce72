"""The scenario's containers as machines to run commands on, one or several at once."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[3]


class CommandFailed(AssertionError):
    """A command on a machine ended with another status than 0."""


@dataclass(frozen=True)
class Machine:
    """`name` as in the inventory; `container` as Docker knows it."""

    name: str
    container: str

    def command(self, *argv: str, user: str = "root", env: Mapping[str, str] | None = None) -> list[str]:
        """The command line on the controller that runs `argv` on the machine."""
        variables = [word for key, value in (env or {}).items() for word in ("--env", f"{key}={value}")]
        return ["docker", "exec", "--interactive", "--user", user, *variables, self.container, *argv]

    def attempt(
        self, *argv: str, user: str = "root", stdin: str = "", seconds: float = 120.0
    ) -> subprocess.CompletedProcess[str]:
        """Run it, whatever its exit status."""
        return subprocess.run(
            self.command(*argv, user=user), input=stdin, capture_output=True, text=True, timeout=seconds, check=False
        )

    def run(self, *argv: str, user: str = "root", stdin: str = "", seconds: float = 120.0) -> str:
        """Its standard output; CommandFailed if it fails."""
        done = self.attempt(*argv, user=user, stdin=stdin, seconds=seconds)
        if done.returncode != 0:
            raise CommandFailed(f"{self.name}: {' '.join(argv)[:200]} → {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout

    def shell(self, script: str, stdin: str = "", seconds: float = 120.0) -> str:
        """A shell script as root, stopping at the first error."""
        return self.run("bash", "-euc", script, stdin=stdin, seconds=seconds)

    def python(self, program: str, *arguments: str, user: str = "root", seconds: float = 120.0) -> Any:
        """What a program of tests/clients printed, as JSON."""
        return json.loads(self.run("python3", "-c", client(program), *arguments, user=user, seconds=seconds))


def client(program: str) -> str:
    """The source of a program in tests/clients; it reaches a machine as an argument, so nothing is installed there."""
    return (ROOT / "tests/clients" / program).read_text()


def on_each(machines: Iterable[Machine], *argv: str, user: str = "root") -> dict[str, str]:
    """The same command on several machines at once: standard output by machine's name."""
    machines = list(machines)
    with ThreadPoolExecutor(max_workers=len(machines)) as pool:
        outputs = pool.map(lambda machine: machine.run(*argv, user=user), machines)
        return dict(zip((machine.name for machine in machines), outputs, strict=True))


def inventory() -> Mapping[str, Any]:
    """The scenario's inventory (inventories/molecule), as its script prints it."""
    script = [sys.executable, str(ROOT / "inventories/molecule/hosts.py")]
    done = subprocess.run(script, capture_output=True, text=True, check=True)
    listed: dict[str, Any] = json.loads(done.stdout)
    return listed


def machines() -> dict[str, Machine]:
    """All machines of the scenario that Molecule is running, by name."""
    hosts = inventory()["_meta"]["hostvars"]
    return {name: Machine(name, variables["ansible_host"]) for name, variables in hosts.items()}


def controller_directory() -> Path:
    """What the controller keeps of the scenario's cluster (inventories/local: keyfold_controller_directory)."""
    return ROOT / ".keyfold" / os.environ["MOLECULE_SCENARIO_NAME"]
