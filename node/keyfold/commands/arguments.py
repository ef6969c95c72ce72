"""What every command's arguments share."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keyfold.context import Context
from keyfold.errors import KeyfoldError

Run = Callable[[argparse.Namespace, Context], Mapping[str, Any]]
Render = Callable[[Mapping[str, Any]], str]
Subparsers = Any  # argparse's own class is private


def command(subparsers: Subparsers, name: str, run: Run, render: Render, help_text: str) -> argparse.ArgumentParser:
    """A subcommand with `--json`."""
    parser: argparse.ArgumentParser = subparsers.add_parser(name, help=help_text, description=help_text)
    parser.add_argument("--json", action="store_true", help="one JSON object on standard output")
    parser.set_defaults(run=run, render=render)
    return parser


def group(subparsers: Subparsers, name: str, help_text: str) -> Subparsers:
    """A command that only has subcommands."""
    return subparsers.add_parser(name, help=help_text).add_subparsers(metavar="ACTION", required=True)


def standard_input() -> dict[str, Any]:
    """The JSON object on standard input, which is how secrets come; errors never repeat it."""
    try:
        value = json.load(sys.stdin)
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise KeyfoldError(
            "invalid",
            "standard input is not one JSON object",
            not_done="nothing was changed",
            next_step="see docs/interfaces.md §5",
        )
    return value


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Left-aligned columns; the first row is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def failed(error: KeyfoldError, *, as_json: bool) -> int:
    """Say it, to a program or a person; the exit code."""
    if as_json:
        print(json.dumps(error.as_reply()))
    else:
        print(error, file=sys.stderr)
    return error.exit_code
