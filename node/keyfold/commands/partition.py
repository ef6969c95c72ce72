"""`keyfold partition`: list partitions, apply a declaration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, group, standard_input, table
from keyfold.context import Context
from keyfold.errors import KeyfoldError


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "partition", "partitions of subscribers")
    command(actions, "list", _list, _render_list, "every partition with its figures")
    handover = command(actions, "handover", _handover, _render_handover, "the sealed first PINs of partitions")
    handover.add_argument("partitions", nargs="+", metavar="PARTITION")
    apply = command(actions, "apply", _apply, _render_apply, 'declare; {"partitions":[…]} on standard input')
    apply.add_argument("--check", action="store_true", help="only say what would change")


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("partition_list")


def _render_list(reply: Mapping[str, Any]) -> str:
    rows = [("partition", "package", "backup", "objects", "bytes", "invalidated")]
    for row in reply["partitions"]:
        figures = (str(row[key]) for key in ("objects", "live_bytes", "invalidated"))
        rows.append((row["name"], row["package"], "yes" if row["backup"] else "no", *figures))
    return table(rows)


def _handover(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("partition_handover", partitions=args.partitions)


def _render_handover(reply: Mapping[str, Any]) -> str:
    lines = []
    for name, row in reply["handover"].items():
        lines += [f"{name}: user PIN, sealed to {row['user_sealed_to']}", row["user"].rstrip()]
        whom = ", ".join(row["so_sealed_to"])
        lines.append(
            f"{name}: SO PIN, " + (f"sealed to {whom}" if whom else "which nobody has: no officers were declared")
        )
        lines += [row["so"].rstrip()] if row["so"] else []
    return "\n".join(lines)


def _apply(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    declared = standard_input().get("partitions")
    if not isinstance(declared, list) or not all(isinstance(row, dict) for row in declared):
        raise KeyfoldError(
            "invalid",
            "standard input has no list 'partitions'",
            not_done="no partition was created or changed",
            next_step="see docs/interfaces.md §5",
        )
    return context.agent.call("partition_apply", partitions=declared, check=args.check)


def _render_apply(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"{change['name']}: {change['action']}" for change in reply["changes"])
