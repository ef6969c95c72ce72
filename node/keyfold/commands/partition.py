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
    apply = command(
        actions, "apply", _apply, _render_apply, 'declare; {"partitions":[…],"approvals":[…]} on standard input'
    )
    apply.add_argument("--check", action="store_true", help="only say what would change")


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("partition_list")


def _render_list(reply: Mapping[str, Any]) -> str:
    rows = [("partition", "package", "backup", "objects", "bytes", "invalidated")]
    for row in reply["partitions"]:
        figures = (str(row[key]) for key in ("objects", "live_bytes", "invalidated"))
        rows.append((row["name"], row["package"], "yes" if row["backup"] else "no", *figures))
    return table(rows)


def _apply(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    given = standard_input()
    declared = given.get("partitions")
    if not isinstance(declared, list) or not all(isinstance(row, dict) for row in declared):
        raise KeyfoldError(
            "invalid",
            "standard input has no list 'partitions'",
            not_done="no partition was created or changed",
            next_step="see docs/interfaces.md §5",
        )
    approvals = given.get("approvals") or []
    return context.agent.call("partition_apply", partitions=declared, check=args.check, approvals=approvals)


def _render_apply(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"{change['name']}: {change['action']}{_weaker(change)}" for change in reply["changes"])


def _weaker(change: Mapping[str, Any]) -> str:
    """A weaker policy is named: it is what the officers have approved, or are to."""
    values = ", ".join(f"{key}={value}" for key, value in change["weaker"].items())
    return f" (weaker: {values}; officers approve that)" if values else ""
