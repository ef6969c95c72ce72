"""The containers that are measured, and programs that run on them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any, Self, cast

ROOT = Path(__file__).resolve().parents[2]
SET = "bench"
NODES = ("hsm1", "hsm2", "hsm3")
PLACE = "/opt/keyfold-bench"
_POLL_SECONDS = 0.2


class BenchFailed(Exception):
    """A measurement could not be made; the message says which step, in the program's own words."""


def run(*command: str, given: str | bytes | None = None, environment: dict[str, str] | None = None) -> str:
    """Standard output of a command run in the checkout. Secrets go in `given`."""
    done = subprocess.run(
        command,
        input=given.encode() if isinstance(given, str) else given,
        capture_output=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        words = (done.stdout + done.stderr).decode(errors="replace").strip()[-3000:]
        raise BenchFailed(f"{' '.join(command)[:200]} ended with {done.returncode}:\n{words}")
    return done.stdout.decode()


def container(machine: str) -> str:
    return f"keyfold-{SET}-{machine}"


def on(machine: str, *command: str, given: str | bytes | None = None) -> str:
    """As root on a machine."""
    return run("docker", "exec", "--interactive", "--workdir", "/", container(machine), *command, given=given)


def keyfold(machine: str, *arguments: str) -> dict[str, Any]:
    """The node's command, as JSON."""
    reply: dict[str, Any] = json.loads(on(machine, "keyfold", *arguments, "--json"))
    return reply


def await_(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it holds; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise BenchFailed(f"{what} did not come within {seconds:g} s")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - begun


class Program:
    """A program that stays on a machine and answers one JSON object per line it is sent."""

    def __init__(self, machine: str, *command: str, first_line: str | None = None) -> None:
        """`first_line` is sent before any request: the PIN, where the program wants one."""
        self._what = f"{command[-1]} on {machine}"
        self._process = subprocess.Popen(
            ["docker", "exec", "--interactive", "--workdir", PLACE, container(machine), *command],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._stdin, self._stdout = cast("IO[str]", self._process.stdin), cast("IO[str]", self._process.stdout)
        if first_line is not None:
            self._send(first_line)

    def begin(self, *request: object) -> None:
        """Send a request without waiting for its answer."""
        self._send(json.dumps(request))

    def answer(self) -> dict[str, Any]:
        line = self._stdout.readline()
        if not line:
            raise BenchFailed(f"{self._what} ended with {self._process.wait()}; its own message is above")
        reply: dict[str, Any] = json.loads(line)
        return reply

    def ask(self, *request: object) -> dict[str, Any]:
        self.begin(*request)
        return self.answer()

    def _send(self, line: str) -> None:
        try:
            self._stdin.write(line + "\n")
            self._stdin.flush()
        except BrokenPipeError as error:
            raise BenchFailed(f"{self._what} has ended; its own message is above") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """End its input, and wait until it has ended."""
        self._stdin.close()
        self._process.wait()
