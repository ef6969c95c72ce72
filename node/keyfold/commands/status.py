"""`keyfold status`: the cluster as this node sees it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.commands.arguments import Subparsers, command, table
from keyfold.commands.figures import FIGURE_TITLES, figures
from keyfold.context import Context
from keyfold.media.register import WARN_BEFORE, of_row


def register(subparsers: Subparsers) -> None:
    command(subparsers, "status", _run, render, "nodes, sites, etcd, partitions, lag, last backup")


def _run(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    now = context.clock.utc()
    reply = context.agent.call("status")
    media = [
        {**one.as_row(), "days_left": one.left(now).days if one.lives else None} for one in map(of_row, reply["media"])
    ]
    return {**reply, "media": media}


def render(reply: Mapping[str, Any]) -> str:
    cluster = reply["cluster"]
    title = f"cluster {cluster['name']} ({cluster['uuid']})" if cluster else "no cluster yet"
    backup = reply["last_backup"]
    parts = [
        f"{title}, seen from {reply['node']}",
        table(
            [("node", "site", "agent", "etcd", "partitions", "objects", "lag", "conflicts", "problem")]
            + [_node(row, reply["etcd"]) for row in reply["nodes"]]
        ),
        table(
            [("partition", "package", *FIGURE_TITLES)]
            + [(row["name"], row["package"], *figures(row)) for row in reply["partitions"]]
        )
        if reply["partitions"]
        else "no partitions",
        _audit(reply["audit"]),
        *_media(reply["media"]),
        f"last backup: {backup['set_id']} at {backup['created']}" if backup else "last backup: never",
    ]
    return "\n\n".join(parts)


def _media(rows: list[dict[str, Any]]) -> list[str]:
    """Nothing where there are none: media are the exception."""
    if not rows:
        return []
    found = [("medium", "name", "its key")]
    for row in rows:
        left = row["days_left"]
        told = "is destroyed, NOT CERTIFIED YET" if left is None else f"is destroyed in {left} days"
        soon = left is not None and left <= WARN_BEFORE.days
        found.append((row["id"], row["name"], f"{told}{': DUE SOON' if soon else ''}"))
    return [table(found)]


def _audit(audit: Mapping[str, Any]) -> str:
    waiting = f", {audit['pending']} not linked yet, the oldest for {audit['oldest_pending_seconds']} s"
    return f"audit: {audit['entries']} entries{waiting if audit['pending'] else ''}"


def _node(row: Mapping[str, Any], members: list[dict[str, Any]]) -> tuple[str, ...]:
    member = next((member for member in members if member["name"] == row["name"]), None)
    etcd = "-" if member is None else "down" if not member["healthy"] else "leader" if member["leader"] else "up"
    figures = (str(row.get(key, "-")) for key in ("partitions", "objects"))
    lag = "-" if row["lag"] is None else str(row["lag"])
    return (
        row["name"],
        row["site"],
        row["agent"],
        etcd,
        *figures,
        lag,
        str(row.get("conflicts", "-")),
        row.get("problem", "") or "-",
    )
