"""`keyfold object`: what a partition holds."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.context import Context

CLASSES = {0: "data", 1: "certificate", 2: "public", 3: "private", 4: "secret"}


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "object", "objects of a partition")
    listing = command(actions, "list", _list, _render, "live objects, or invalidated ones")
    listing.add_argument("partition")
    listing.add_argument("--invalidated", action="store_true", help="what was destroyed and is kept")


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("object_list", partition=args.partition, invalidated=args.invalidated)


def _render(reply: Mapping[str, Any]) -> str:
    rows = [("class", "label", "id", "bytes", "file")]
    for row in reply["objects"]:
        label = "" if row["label"] is None else bytes.fromhex(row["label"]).decode("utf-8", "replace")
        kind = "token" if row["class"] is None else CLASSES.get(row["class"], str(row["class"]))
        rows.append((kind, label, row["id"] or "", str(row["size"]), row["file"]))
    return table(rows)
