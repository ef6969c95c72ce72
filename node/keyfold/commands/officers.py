"""`keyfold officers`: who may approve."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, group, standard_input, table
from keyfold.context import Context


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "officers", "who may approve dangerous things, and how many of them it takes")
    command(actions, "list", _list, _render_list, "the officers and their public keys")
    apply = command(actions, "apply", _apply, _render_apply, '{"officers","required","approval"} on standard input')
    apply.add_argument("--check", action="store_true", help="only say what would change")


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("officers_list")


def _render_list(reply: Mapping[str, Any]) -> str:
    if not reply["officers"]:
        return "no officers are declared: nothing can be approved"
    rows = [("officer", "key"), *((row["name"], row["key"]) for row in reply["officers"])]
    return f"{reply['required']} of {len(reply['officers'])} approve\n\n{table(rows)}"


def _apply(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    given = standard_input()
    return context.agent.call(
        "officers_apply",
        officers=given.get("officers"),
        required=given.get("required"),
        approval=given.get("approval"),
        check=args.check,
    )


def _render_apply(reply: Mapping[str, Any]) -> str:
    approved = f", approved by {', '.join(reply['approved_by'])}" if reply["approved_by"] else ""
    return f"officers: {reply['action']}{approved}"
