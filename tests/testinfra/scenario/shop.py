"""The application `shop` of docs/clients.md on a subscriber's machine: an account that may use partition acme."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager

from scenario.machines import CommandFailed, Machine

HOME = "/srv/shop"


class Shop:
    """`page`: the page's blocks by name. All runs are bounded in time, on the machine too."""

    def __init__(self, machine: Machine, page: Mapping[str, str]) -> None:
        self.machine, self._page = machine, page

    def run(self, block: str, *, user: str = "shop", seconds: int = 60) -> str:
        """Both outputs of a block of the page; CommandFailed if it fails."""
        done = self.attempt(block, user=user, seconds=seconds)
        if done.returncode != 0:
            raise CommandFailed(f"{block} → {done.returncode}\n{done.stdout}{done.stderr}")
        return done.stdout + done.stderr

    def attempt(
        self, block: str, *, user: str = "shop", seconds: int = 60, replace: tuple[str, str] | None = None
    ) -> subprocess.CompletedProcess[str]:
        """Run it, whatever its exit status; `replace` alters its text, for what must fail."""
        script = self._page[block]
        if replace is not None:
            assert replace[0] in script, f"the block {block} has no {replace[0]!r}"
            script = script.replace(*replace)
        return self.command(script, user=user, seconds=seconds)

    def command(self, script: str, *, user: str = "shop", seconds: int = 60) -> subprocess.CompletedProcess[str]:
        """A test's own script, in the application's environment."""
        return self.machine.attempt(*self._bash(script, seconds), user=user, seconds=seconds + 5)

    def output(self, script: str) -> str:
        """Both outputs of a test's own script, whatever its exit status."""
        done = self.command(script)
        return done.stdout + done.stderr

    @contextmanager
    def serving(self, block: str) -> Iterator[None]:
        """A block that does not end by itself runs for as long."""
        with service(self.machine, "shop-server", *self._bash(self._page[block], 900), user="shop"):
            yield

    def as_root(self, block: str, stdin: str = "") -> str:
        """A block that the page says root runs."""
        return self.machine.shell(self._page[block], stdin=stdin)

    def install(self, *files: str) -> None:
        """Files of the page: the application's own in its home, root's elsewhere."""
        for file in files:
            owner = "shop" if file.startswith(HOME) else "root"
            mode = "0755" if self._page[file].startswith("#!") else "0644"
            self.machine.run("install", "-D", "-o", owner, "-m", mode, "/dev/stdin", file, stdin=self._page[file])

    @contextmanager
    def another_pin(self, pin: str) -> Iterator[None]:
        """The PIN's file holds another one for as long."""
        self.machine.shell(f"mv {HOME}/pin {HOME}/pin.right")
        try:
            self.as_root("shop-pin", stdin=pin)
            yield
        finally:
            self.machine.shell(f"mv -f {HOME}/pin.right {HOME}/pin")

    def _bash(self, script: str, seconds: int) -> list[str]:
        # An outer time limit ends docker's client, not what it started.
        return [
            "timeout",
            "--kill-after=5",
            str(seconds),
            "bash",
            "-euo",
            "pipefail",
            "-c",
            self._page["environment"] + script,
        ]


@contextmanager
def service(machine: Machine, name: str, *argv: str, user: str = "root") -> Iterator[None]:
    """A transient unit: systemd ends all of it, and no later than after a quarter of an hour."""
    # A script's own variables are the shell's to expand.
    limits = ["--collect", "--expand-environment=no", f"--uid={user}", "--property=RuntimeMaxSec=900"]
    machine.run("systemd-run", "--quiet", f"--unit={name}", *limits, *argv)
    try:
        yield
    finally:
        stopped = machine.attempt("systemctl", "stop", f"{name}.service")
        assert stopped.returncode == 0, machine.run("journalctl", "--unit", name, "--lines", "20", "--output", "cat")
