"""A running application (tests/clients/pkcs11_session.py) on one of the machines, under a test's control."""

from __future__ import annotations

import json
import subprocess
from types import TracebackType
from typing import Any

from scenario.machines import Machine, client

LIBRARIES = "/usr/lib/x86_64-linux-gnu"
KEYFOLD = f"{LIBRARIES}/pkcs11/keyfold-pkcs11.so"
SOFTHSM = f"{LIBRARIES}/softhsm/libsofthsm2.so"
REMOTE = f"{LIBRARIES}/pkcs11/p11-kit-client.so"


class Pkcs11Error(Exception):
    """PKCS#11 answered with this error ("CKR_…")."""

    @property
    def name(self) -> str:
        return str(self.args[0])


class Gone(Exception):
    """The application has ended, or its machine has."""


class Application:
    """Calls are the methods of the program's Application; each waits for its answer."""

    def __init__(self, machine: Machine, partition: str, module: str, env: dict[str, str]) -> None:
        self.machine = machine
        command = machine.command(
            "python3", "-c", client("pkcs11_session.py"), module, partition, user=f"kf-{partition}", env=env
        )
        self._process = subprocess.Popen(
            command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @classmethod
    def on_node(cls, machine: Machine, partition: str, module: str = KEYFOLD) -> Application:
        """In process on an HSM node, as the partition's user: what `p11-kit remote` does for a subscriber."""
        conf = f"/var/lib/keyfold/partitions/{partition}/softhsm2.conf"
        return cls(machine, partition, module, {"SOFTHSM2_CONF": conf})

    @classmethod
    def remote(cls, machine: Machine, partition: str) -> Application:
        """On a subscriber's machine, through p11-kit-client, stunnel and HAProxy, set up as the client role says."""
        lines = machine.run("cat", f"/etc/keyfold-client/{partition}.env").splitlines()
        settings = [line.removeprefix("export ").partition("=") for line in lines if "=" in line]
        env = {key: value.strip("'\"") for key, _, value in settings if not key.startswith("#")}
        return cls(machine, partition, REMOTE, env)

    def call(self, do: str, **arguments: Any) -> Any:
        """Its answer; Pkcs11Error with the return value's name, Gone if the application is no more."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except (BrokenPipeError, ValueError) as error:
            raise Gone(f"{self.machine.name}: {error}") from error
        if not line:
            assert self._process.stderr is not None
            raise Gone(f"{self.machine.name}: {self._process.stderr.read()[-2000:]}")
        reply = json.loads(line)
        if "error" in reply:
            raise Pkcs11Error(reply["error"])
        return reply["ok"]

    def labels(self, cls: str = "private") -> set[str]:
        """Labels of the keys of one class: public, private or secret."""
        return {label for kind, label in self.call("labels") if kind == cls}

    def close(self) -> None:
        """At once, as a crash would, also while it waits for an answer."""
        self._process.kill()
        self._process.wait(timeout=10)
        for pipe in (self._process.stdin, self._process.stdout, self._process.stderr):
            if pipe is not None:
                pipe.close()

    def __enter__(self) -> Application:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
