"""`keyfold object`: what a partition holds, and what becomes of what was destroyed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfold.approval.files import read_approval
from keyfold.commands.arguments import Subparsers, command, group, standard_input, table
from keyfold.context import Context

CLASSES = {0: "data", 1: "certificate", 2: "public", 3: "private", 4: "secret"}


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "object", "objects of a partition")
    listing = command(actions, "list", _list, _render_list, "live objects, or invalidated ones")
    listing.add_argument("partition")
    listing.add_argument("--invalidated", action="store_true", help="what was destroyed and is kept")
    back = command(actions, "reactivate", _reactivate, _render, "bring invalidated objects back, on every node")
    back.add_argument("--without-public", action="store_true", help="leave the public half of a private key out")
    purge = command(
        actions, "purge", _purge, _render, "forget invalidated objects for good: only a backup has them then"
    )
    for parser in (back, purge):
        parser.add_argument("partition")
        parser.add_argument("--file", metavar="F", action="append", default=[], help="this object file; repeatable")
        parser.add_argument("--label", metavar="L", action="append", default=[], help="objects with this label")
        parser.add_argument("--id", metavar="HEX", action="append", default=[], help="objects with this ID")
        parser.add_argument("--dry-run", action="store_true", help="only show what would be done, and to be approved")
        parser.add_argument(
            "--approval",
            metavar="REQUEST",
            help="the officers' signed request, its .sig files beside it; - takes {approval} from standard input",
        )
    expire = command(actions, "expire", _expire, _render_expire, "let expire what is due now; agents do it every hour")
    expire.add_argument("--dry-run", action="store_true", help="only show what would expire")
    expire.add_argument(
        "--accept-pause", action="store_true", help="the clocks are right although the last run was long ago"
    )


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("object_list", partition=args.partition, invalidated=args.invalidated)


def _render_list(reply: Mapping[str, Any]) -> str:
    invalidated = any(row.get("invalidated_at") for row in reply["objects"])
    rows = [("class", "label", "id", "bytes", "file", *(("invalidated", "expires") if invalidated else ()))]
    for row in reply["objects"]:
        life = (_minute(row["invalidated_at"]), _minute(row["expires_at"]) or "never") if invalidated else ()
        rows.append((*_named(row), str(row["size"]), row["file"], *life))
    return table(rows)


def _reactivate(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return _changed(_selected("object_reactivate", args, context, with_public=not args.without_public), args)


def _purge(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return _changed(_selected("object_purge", args, context), args)


def _selected(op: str, args: argparse.Namespace, context: Context, **more: Any) -> dict[str, Any]:
    chosen = {"files": args.file, "labels": args.label, "ids": args.id}
    return context.agent.call(
        op, partition=args.partition, **chosen, check=args.dry_run, approval=_approval(args), **more
    )


def _approval(args: argparse.Namespace) -> dict[str, Any] | None:
    if args.approval == "-":
        found: dict[str, Any] | None = standard_input().get("approval")
        return found
    return None if args.approval is None else read_approval(Path(args.approval))


def _changed(reply: Mapping[str, Any], args: argparse.Namespace) -> dict[str, Any]:
    return {**reply, "changed": reply["revision"] is not None, "partition": args.partition}


def _render(reply: Mapping[str, Any]) -> str:
    rows = [("action", "class", "label", "id", "bytes", "file")]
    rows += [
        (row["action"], *_named(row), str(row["size"]), row["file"])
        for row in reply["plan"]
        if row["action"] != "untouched"
    ]
    if len(rows) == 1:
        lines = [f"partition {reply['partition']}: nothing to do"]
    else:
        lines = [f"partition {reply['partition']}:", table(rows)]
    if reply["changed"]:
        lines.append(f"done: committed at revision {reply['revision']}; every node follows")
    elif len(rows) > 1:
        lines.append("nothing was changed; officers approve exactly these files:")
        lines += [f"  - {file}" for file in reply["files"]]
    if history := reply.get("history"):
        lines.append(f"etcd's history up to revision {history['compacted']} is gone")
        lines += [f"still to do on {member}: {problem}" for member, problem in history["problems"].items()]
    return "\n".join(lines)


def _expire(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    reply = context.agent.call("object_expire", check=args.dry_run, accept_pause=args.accept_pause)
    return {**reply, "changed": reply["revision"] is not None}


def _render_expire(reply: Mapping[str, Any]) -> str:
    if not reply["plan"]:
        return "no invalidated object is due"
    rows = [("partition", "class", "label", "id", "bytes", "file", "invalidated")]
    for row in reply["plan"]:
        life = _minute(row["invalidated_at"])
        rows.append((row["partition"], *_named(row), str(row["size"]), row["file"], life))
    return table(rows) + ("\nthey expired" if reply["changed"] else "\nnothing was changed")


def _named(row: Mapping[str, Any]) -> tuple[str, str, str]:
    """Class, label and ID for people."""
    label = "" if row["label"] is None else bytes.fromhex(row["label"]).decode("utf-8", "replace")
    kind = "token" if row["class"] is None else CLASSES.get(row["class"], str(row["class"]))
    return kind, label, row["id"] or ""


def _minute(moment: str | None) -> str:
    return "" if moment is None else f"{moment[:10]} {moment[11:16]}Z"
