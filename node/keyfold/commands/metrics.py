"""`keyfold metrics`: the cluster's figures, as Prometheus reads them."""

from __future__ import annotations

import argparse
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfold import __version__
from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.spool import disk_error
from keyfold.commands.arguments import Subparsers, command
from keyfold.commands.backup_store import reader
from keyfold.context import Context
from keyfold.drill import run as drill
from keyfold.errors import KeyfoldError
from keyfold.media import register as media_register
from keyfold.metrics.collect import Answers, collect
from keyfold.metrics.text import render


def register(subparsers: Subparsers) -> None:
    parser = command(subparsers, "metrics", _run, _render, "figures in Prometheus' text format")
    parser.add_argument("--output", metavar="FILE", type=Path, help="write them there, whole or not at all")


def _run(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    text = render(collect(_ask(context)))
    if args.output is not None:
        _replace(args.output, text)
    return {"output": None if args.output is None else str(args.output), "text": text}


def _ask(context: Context) -> Answers:
    """An agent or a store that does not answer is a figure, not an error."""
    status, problem, backup_sets, drills, media = None, "", {}, {}, {}
    cluster = ClusterState(context.agent)
    try:
        status = context.agent.call("status")
        backup_sets, drills = cluster.records(sets.RECORD_KIND), cluster.records(drill.RECORD_KIND)
        media = cluster.records(media_register.RECORD_KIND)
    except KeyfoldError as error:
        status, problem = None, error.code
    return Answers(
        node=context.config.node,
        version=__version__,
        now=context.clock.utc(),
        status=status,
        problem=problem,
        backup_sets=backup_sets,
        drills=drills,
        media=media,
        packages=context.config.packages,
        store=_store(context),
    )


def _store(context: Context) -> tuple[bool, int | None] | None:
    if context.config.store is None:
        return None
    try:
        with reader(context) as remote:
            return True, remote.free_bytes()
    except KeyfoldError:
        return False, None


def _replace(target: Path, text: str) -> None:
    draft = target.with_name(f".{target.name}.new")
    try:
        with draft.open("w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o644)
            file.write(text)
        draft.replace(target)
    except OSError as error:
        raise disk_error(target, error) from error


def _render(reply: Mapping[str, Any]) -> str:
    if reply["output"] is not None:
        return f"written to {reply['output']}"
    return str(reply["text"]).rstrip("\n")
