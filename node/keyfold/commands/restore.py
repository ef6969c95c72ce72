"""`keyfold restore`: preview what would come back, then bring it back for a ticket."""

from __future__ import annotations

import argparse
import os
import pwd
from collections.abc import Mapping
from typing import Any

from keyfold.backup.cluster import ClusterState
from keyfold.backup.sets import LATEST
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.commands.backup_store import reader
from keyfold.context import Context
from keyfold.errors import KeyfoldError
from keyfold.restore.plan import MODE, Step
from keyfold.restore.run import Outcome, Request, Restore
from keyfold.restore.select import CLASSES, Selection

_CLASS_NAMES = {number: name for name, number in CLASSES.items()}


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "restore", "bring keys back from a backup set")
    preview = command(actions, "preview", _preview, _render, "what a restore would do; changes nothing")
    apply = command(actions, "apply", _apply, _render, "bring back what is missing; never removes, never changes")
    for parser in (preview, apply):
        parser.add_argument("--partition", metavar="NAME", required=True)
        parser.add_argument("--set", metavar="ID", default=LATEST, help="a set's ID (default: %(default)s)")
        parser.add_argument(
            "--label", metavar="L", action="append", default=[], help="keys with this label, all classes; repeatable"
        )
        parser.add_argument("--id", metavar="HEX", action="append", default=[], help="keys with this ID; repeatable")
        parser.add_argument(
            "--class", dest="classes", action="append", default=[], choices=list(CLASSES), help="only this class"
        )
    apply.add_argument("--ticket", metavar="T", required=True, help="the restore request this is done for")


def _preview(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    with reader(context) as remote:
        restore = Restore(ClusterState(context.agent), remote, context.config.state, context.clock)
        return _reply(restore.preview(_request(args)), args.partition)


def _apply(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    if not args.ticket.strip():
        raise KeyfoldError(
            "invalid",
            "the ticket is empty",
            not_done="nothing was restored",
            next_step="give the restore request's number: --ticket T",
        )
    with reader(context) as remote:
        restore = Restore(ClusterState(context.agent), remote, context.config.state, context.clock)
        return _reply(restore.apply(_request(args), args.ticket, _caller()), args.partition)


def _request(args: argparse.Namespace) -> Request:
    return Request(args.partition, args.set, Selection(tuple(args.label), tuple(args.id), tuple(args.classes)))


def _caller() -> str:
    """For the record: the person behind sudo, else the account this runs under."""
    return os.environ.get("SUDO_USER") or pwd.getpwuid(os.getuid()).pw_name


def _reply(outcome: Outcome, partition: str) -> dict[str, Any]:
    return {
        "changed": outcome.revision is not None,
        "set_id": outcome.set_id,
        "partition": partition,
        "mode": MODE,
        "plan": [_step(step) for step in outcome.plan.steps],
        "counts": outcome.plan.counts,
        "revision": outcome.revision,
    }


def _step(step: Step) -> dict[str, Any]:
    item = step.object
    kind = "token" if item.object_class is None else _CLASS_NAMES.get(item.object_class, str(item.object_class))
    return {
        "action": step.action.value,
        "file": item.file,
        "class": kind,
        "label": None if item.label is None else bytes.fromhex(item.label).decode("utf-8", "replace"),
        "id": item.id,
        "size": item.size,
    }


def _render(reply: Mapping[str, Any]) -> str:
    rows = [("action", "class", "label", "id", "bytes", "file")]
    rows += [
        (row["action"], row["class"], row["label"] or "", row["id"] or "", str(row["size"]), row["file"])
        for row in reply["plan"]
        if row["action"] != "untouched"
    ]
    counts = ", ".join(f"{count} {action}" for action, count in reply["counts"].items())
    lines = [f"partition {reply['partition']} from backup set {reply['set_id']}: {counts}"]
    if len(rows) > 1:
        lines.append(table(rows))
    if reply["changed"]:
        lines.append(f"done: committed at revision {reply['revision']}; every node follows")
    return "\n".join(lines)
