"""`keyfold approval`: look at a request and its signatures before it is used."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfold.approval.files import read_approval
from keyfold.approval.gate import sign_command
from keyfold.commands.arguments import Subparsers, command, group
from keyfold.context import Context
from keyfold.errors import KeyfoldError

_SHOWN = ("kind", "partition", "ticket", "reason", "requested_by", "expires", "request_id")


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "approval", "officers' approvals")
    show = command(actions, "show", _show, _render, "what a request asks for, and who has signed it")
    check = command(actions, "check", _check, _render, "whether it could be used now; uses nothing up")
    for parser in (show, check):
        parser.add_argument("request", type=Path, metavar="REQUEST")
        parser.add_argument(
            "--signature",
            type=Path,
            metavar="FILE",
            action="append",
            default=[],
            help="beside REQUEST.sig and REQUEST.*.sig, which are found; repeatable",
        )


def _show(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    return context.agent.call("approval_examine", approval=read_approval(args.request, args.signature))


def _check(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    reply = _show(args, context)
    if reply["problems"]:
        raise KeyfoldError(
            "unapproved",
            f"the request {args.request} is not approved: {'; '.join(reply['problems'])}",
            not_done="nothing was approved or changed",
            next_step=f"correct it, or have officers sign it: {sign_command(str(args.request))}",
        )
    return reply


def _render(reply: Mapping[str, Any]) -> str:
    lines = [f"{name}: {reply[name]}" for name in _SHOWN]
    lines += [f"{name}: {value}" for name, value in reply["own"].items()]
    lines.append(f"signed by: {', '.join(reply['signed_by']) or 'nobody'} ({reply['required']} are needed)")
    lines += [f"does not count: {sentence}" for sentence in reply["rejected"]]
    lines += [f"problem: {sentence}" for sentence in reply["problems"]]
    return "\n".join(lines)
