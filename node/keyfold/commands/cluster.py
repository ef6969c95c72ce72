"""`keyfold cluster`: found the cluster, show what it is."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, group, standard_input
from keyfold.context import Context


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "cluster", "the cluster as a whole")
    command(actions, "init", _init, render, 'genesis, once; {"name","uuid","root","custody"} on standard input')
    command(actions, "info", _info, render, "UUID, fingerprints, recipient of backups")


def _init(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    given = standard_input()
    return context.agent.call("cluster_init", **{key: given.get(key) for key in ("name", "uuid", "root", "custody")})


def _info(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("cluster_info")


def render(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"{key}: {value}" for key, value in reply["cluster"].items())
