"""`keyfold node`: what units on this node run; not for people."""

from __future__ import annotations

import argparse
import logging
import signal
import sys
import threading
from collections.abc import Mapping
from typing import Any

from keyfold.access.proxy import Proxy
from keyfold.access.watcher import Watcher
from keyfold.commands.arguments import Subparsers, command, group
from keyfold.context import Context
from keyfold.provision.apply import provision


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "node", "internal: for Keyfold's own units")
    command(actions, "provision", _provision, _render, "users, directories, units of this node's partitions")
    command(
        actions, "connections", _connections, lambda _: "", "end connections whose certificate is not good any more"
    )


def _connections(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(message)s", stream=sys.stderr)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    Watcher(Proxy(), context.clock).run(stop)
    return {}


def _provision(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return {"changed": provision(context.config.state, context.config.packages)}


def _render(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"wrote {path}" for path in reply["changed"]) or "nothing to do"
