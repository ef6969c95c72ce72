"""The cluster under test: its status, what each node holds, and whether they agree."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

from lab.handover import user_pin
from scenario.application import KEYFOLD, Application
from scenario.machines import Machine, controller_directory, machines
from scenario.waiting import wait_for


class CommandRefused(Exception):
    """`keyfold … --json` answered with an error: its `code`, exit code and words."""

    def __init__(self, reply: Mapping[str, Any]) -> None:
        super().__init__(f"{reply['what']}; not done: {reply['not_done']}; next: {reply['next']}")
        self.code = str(reply["code"])
        self.exit_code = int(reply["exit_code"])


@dataclass(frozen=True)
class Cluster:
    """`nodes` in the order of their names: hsm1 (dc1), hsm2 (dc2), hsm3 (backup site)."""

    nodes: tuple[Machine, ...]
    store: Machine
    app: Machine

    def node(self, name: str) -> Machine:
        return next(node for node in self.nodes if node.name == name)

    def others(self, node: Machine) -> list[Machine]:
        return [other for other in self.nodes if other != node]

    def pin(self, partition: str = "acme") -> str:
        """The partition's first user PIN, which only its subscriber can open."""
        return user_pin(controller_directory(), partition)

    def application(self, node: Machine, partition: str = "acme", *, module: str = KEYFOLD) -> Application:
        """Logged in, in process on a node."""
        application = Application.on_node(node, partition, module)
        application.call("login", pin=self.pin(partition))
        return application

    def subscriber(self, partition: str = "acme") -> Application:
        """Logged in on the subscriber's machine, over the network."""
        application = Application.remote(self.app, partition)
        application.call("login", pin=self.pin(partition))
        return application

    def await_level(self, seconds: float = 300.0) -> None:
        """Until every node says of every node that it is up, without a problem and without lag."""
        for node in self.nodes:
            wait_for(partial(_all_level, node), f"three level nodes, seen from {node.name}", seconds)

    def await_agreement(self, partition: str = "acme", seconds: float = 300.0) -> dict[str, str]:
        """Until all nodes hold what etcd holds, by identity digest of every object; returns it.

        Compared on each node: the files as they are, the agent's view of them, and a snapshot of etcd.
        """
        held: dict[str, dict[str, Any]] = {}

        def agreed() -> bool:
            held.update(self.holdings(partition))
            views = [view[part] for view in held.values() for part in ("files", "agent", "etcd")]
            return all(view == views[0] for view in views)

        try:
            wait_for(agreed, "agreement", seconds)
        except AssertionError:
            raise AssertionError(_differences(held)) from None
        return dict(held[self.nodes[0].name]["etcd"])

    def holdings(self, partition: str = "acme") -> dict[str, dict[str, Any]]:
        """tests/clients/node_files.py, by node."""
        with ThreadPoolExecutor(max_workers=len(self.nodes)) as pool:
            views = pool.map(lambda node: node.python("node_files.py", partition, seconds=300.0), self.nodes)
            return dict(zip((node.name for node in self.nodes), views, strict=True))


def scenario_cluster() -> Cluster:
    """The cluster of the scenario that Molecule is running."""
    known = machines()
    nodes = tuple(machine for name, machine in sorted(known.items()) if name.startswith("hsm"))
    return Cluster(nodes, known["store1"], known["app1"])


def keyfold(machine: Machine, *arguments: str, stdin: str = "", seconds: float = 300.0) -> dict[str, Any]:
    """The node's command as JSON; CommandRefused if it refuses."""
    done = machine.attempt("keyfold", *arguments, "--json", stdin=stdin, seconds=seconds)
    assert done.stdout, f"{machine.name}: keyfold {' '.join(arguments)} printed no JSON: {done.stderr}"
    reply: dict[str, Any] = json.loads(done.stdout)
    if not reply["ok"]:
        assert reply["exit_code"] == done.returncode
        raise CommandRefused(reply)
    assert done.returncode == 0
    return reply


def _all_level(node: Machine) -> bool:
    try:
        rows = keyfold(node, "status", seconds=20.0)["nodes"]
    except (CommandRefused, subprocess.TimeoutExpired):
        return False
    return all((row["agent"], row["lag"], row.get("problem", "")) == ("up", 0, "") for row in rows)


def _differences(held: Mapping[str, Mapping[str, Any]]) -> str:
    """Per file that not all agree on, who has what."""
    views = {f"{node} {part}": view[part] or {} for node, view in held.items() for part in ("files", "agent", "etcd")}
    names = sorted({name for view in views.values() for name in view})
    lines = [
        f"{name}: " + ", ".join(f"{who}={view.get(name, 'absent')[:12]}" for who, view in views.items())
        for name in names
        if len({view.get(name) for view in views.values()}) > 1
    ]
    return "the nodes and etcd do not hold the same\n" + "\n".join(lines[:20])
