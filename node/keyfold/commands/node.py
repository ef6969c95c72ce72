"""`keyfold node`: what units on this node run; not for people."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, group
from keyfold.context import Context
from keyfold.provision.apply import provision


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "node", "internal: for keyfold-provision.service")
    command(actions, "provision", _provision, _render, "users, directories, units of this node's partitions")


def _provision(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return {"changed": provision(context.config.state)}


def _render(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"wrote {path}" for path in reply["changed"]) or "nothing to do"
