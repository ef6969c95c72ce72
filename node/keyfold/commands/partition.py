"""`keyfold partition`: list partitions, apply a declaration."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands import compare
from keyfold.commands.arguments import Subparsers, command, group, standard_input, table
from keyfold.commands.figures import FIGURE_TITLES, figures
from keyfold.context import Context
from keyfold.errors import KeyfoldError
from keyfold.lockout.state import USERS


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "partition", "partitions of subscribers")
    command(actions, "list", _list, _render_list, "every partition with its figures")
    compare.register(actions)
    handover = command(actions, "handover", _handover, _render_handover, "the sealed first PINs of partitions")
    handover.add_argument("partitions", nargs="+", metavar="PARTITION")
    apply = command(
        actions, "apply", _apply, _render_apply, 'declare; {"partitions":[…],"approvals":[…]} on standard input'
    )
    apply.add_argument("--check", action="store_true", help="only say what would change")
    unlock = command(
        actions, "unlock", _unlock, _render_unlock, "lift the lock of its logins and forget their failures"
    )
    unlock.add_argument("partition")
    unlock.add_argument("--user", choices=USERS, help="only this one's (default: both)")
    unlock.add_argument("--dry-run", action="store_true", help="only say for whom there are failures to forget")


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("partition_list")


def _render_list(reply: Mapping[str, Any]) -> str:
    rows = [("partition", "package", "backup", *FIGURE_TITLES)]
    rows += [
        (row["name"], row["package"], "yes" if row["backup"] else "no", *figures(row)) for row in reply["partitions"]
    ]
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


def _unlock(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    user = {} if args.user is None else {"user": args.user}
    reply = context.agent.call("partition_unlock", partition=args.partition, check=args.dry_run, **user)
    changed = bool(reply["unlocked"]) and not args.dry_run
    return {"changed": changed, "partition": args.partition, "unlocked": reply["unlocked"]}


def _render_unlock(reply: Mapping[str, Any]) -> str:
    if not reply["unlocked"]:
        return f"{reply['partition']}: no login had failed; nothing to unlock"
    what = "unlocked" if reply["changed"] else "there are failed logins to forget"
    return f"{reply['partition']}: {what} for {' and '.join(reply['unlocked'])}"
