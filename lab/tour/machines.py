"""The local cluster's machines, reached as an operator and as a subscriber would."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from lab.handover import user_pin
from lab.tour.narration import Narrator, StepFailed

ROOT = Path(__file__).resolve().parents[2]
CONTROLLER = ROOT / ".keyfold" / "local"
NODES = ("hsm1", "hsm2", "hsm3")
PARTITION = "acme"
PROXY = "/usr/lib/x86_64-linux-gnu/p11-kit-proxy.so"
_POLL_SECONDS = 0.05


def run(*command: str, given: str | None = None, environment: Mapping[str, str] | None = None) -> str:
    """Standard output; StepFailed with the command's own words if it fails. Secrets go in `environment` or `given`."""
    done = subprocess.run(
        command,
        input=given,
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
        env={**os.environ, **(environment or {})},
    )
    if done.returncode != 0:
        raise StepFailed(
            f"{' '.join(command[:12])} … ended with {done.returncode}:\n{(done.stdout + done.stderr).strip()[-3000:]}",
            "docker exec <machine> journalctl -e; then make demo again",
        )
    return done.stdout


def container(machine: str) -> str:
    return f"keyfold-{machine}"


def on(machine: str, *command: str) -> str:
    """As root on a machine."""
    return run("docker", "exec", container(machine), *command)


def keyfold(machine: str, *arguments: str) -> dict[str, Any]:
    """The node's command, as JSON."""
    reply: dict[str, Any] = json.loads(on(machine, "keyfold", *arguments, "--json"))
    return reply


def playbook(name: str, *arguments: str) -> str:
    """A real playbook on the local inventory."""
    environment = {
        "ANSIBLE_STRATEGY": os.environ.get("ANSIBLE_STRATEGY", "mitogen_linear"),
        "ANSIBLE_DEPRECATION_WARNINGS": "false",
        "ANSIBLE_NOCOLOR": "1",
    }
    return run("ansible-playbook", f"playbooks/{name}.yml", *arguments, environment=environment)


def live_nodes() -> list[str]:
    running = run("docker", "ps", "--format", "{{.Names}}").split()
    return [node for node in NODES if container(node) in running]


def await_(condition: Callable[[], bool], seconds: float, what: str) -> float:
    """Wait until it holds; the seconds it took."""
    begun = time.monotonic()
    while not condition():
        if time.monotonic() - begun > seconds:
            raise StepFailed(f"{what} did not come within {seconds:g} s", "docker exec keyfold-hsm2 keyfold status")
        time.sleep(_POLL_SECONDS)
    return time.monotonic() - begun


class Subscriber:
    """The application on app1: unmodified tools, as the user kf-acme, the PIN in the environment of each command."""

    def __init__(self, narrator: Narrator) -> None:
        self._narrator = narrator
        self._environment = {"KEYFOLD_PIN": user_pin(CONTROLLER, PARTITION)}
        self._work = f"/var/lib/keyfold-tour-{os.getpid()}"
        on("app1", "install", "-d", "-o", f"kf-{PARTITION}", self._work)
        program = Path(__file__).with_name("application.py").read_text(encoding="utf-8")
        run("docker", "exec", "-i", container("app1"), "tee", f"{self._work}/application.py", given=program)

    def clean_up(self) -> None:
        on("app1", "rm", "-r", self._work)

    def does(self, what: str, *command: str) -> str:
        """Run it and say so."""
        begun = time.monotonic()
        output = self._run(*command)
        self._narrator.did("app1", what, time.monotonic() - begun)
        return output

    def refused(self, what: str, because: str, *command: str) -> None:
        """The command, its PIN on standard input, must fail and name the reason."""
        begun = time.monotonic()
        try:
            self._run("sh", "-c", 'printf "%s\\n" "$KEYFOLD_PIN" | "$@"', "sh", *command)
        except StepFailed as error:
            if because not in str(error):
                raise
            self._narrator.did("app1", what, time.monotonic() - begun)
        else:
            raise StepFailed(f"not refused: {' '.join(command)}", "docker exec keyfold-hsm1 keyfold partition list")

    def pkcs11_tool(self, what: str, *arguments: str) -> str:
        return self.does(
            what,
            *("pkcs11-tool", "--module", PROXY, "--token-label", PARTITION),
            *("--login", "--pin", "env:KEYFOLD_PIN", *arguments),
        )

    def openssl(self, what: str, *arguments: str) -> str:
        return self.does(what, "env", "OPENSSL_CONF=/etc/keyfold-client/openssl.cnf", "openssl", *arguments)

    def python(self, what: str, *arguments: str) -> str:
        return self.does(what, "python3", "application.py", PROXY, PARTITION, *arguments)

    def labels(self) -> set[str]:
        """Labels of all objects the application sees now."""
        listed = self._run(
            *("pkcs11-tool", "--module", PROXY, "--token-label", PARTITION, "--login", "--pin", "env:KEYFOLD_PIN"),
            "--list-objects",
        )
        return {line.partition(":")[2].strip() for line in listed.splitlines() if line.strip().startswith("label:")}

    def _run(self, *command: str) -> str:
        return run(
            *("docker", "exec", "--env", "KEYFOLD_PIN", "--workdir", self._work, container("app1")),
            *("runuser", "--user", f"kf-{PARTITION}", "--", *command),
            environment=self._environment,
        )
