"""`keyfold-subscriber` on the subscriber's machine, run as the partition's user there."""

from __future__ import annotations

import json
from typing import Any

from scenario.cluster import CommandRefused
from scenario.machines import Machine


class SelfService:
    def __init__(self, app: Machine, partition: str, user: str | None = None) -> None:
        self._app = app
        self._partition = partition
        self._user = user or f"kf-{partition}"

    def ask(self, *arguments: str, stdin: str = "") -> dict[str, Any]:
        """Its JSON; CommandRefused if it refuses. PINs go in over `stdin`, a line each."""
        command = ("keyfold-subscriber", "--partition", self._partition, *arguments, "--json")
        done = self._app.attempt(*command, user=self._user, stdin=stdin)
        assert done.stdout, f"keyfold-subscriber {' '.join(arguments)} printed no JSON: {done.stderr}"
        reply: dict[str, Any] = json.loads(done.stdout)
        if not reply["ok"]:
            assert reply["exit_code"] == done.returncode
            raise CommandRefused(reply)
        assert done.returncode == 0
        return reply

    def text(self, *arguments: str) -> str:
        return self._app.run("keyfold-subscriber", "--partition", self._partition, *arguments, user=self._user)
