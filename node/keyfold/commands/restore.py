"""`keyfold restore`: draft a request, preview what it would do, carry it out once officers have signed it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from pathlib import Path
from typing import Any

import yaml

from keyfold.approval.files import read_approval
from keyfold.approval.gate import decode
from keyfold.approval.request import parse
from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.run import Backup
from keyfold.commands.arguments import Subparsers, command, group, standard_input, table
from keyfold.commands.backup import sign_with_system
from keyfold.commands.backup_store import reader, writer
from keyfold.commands.caller import caller
from keyfold.commands.media import block
from keyfold.context import Context
from keyfold.media.ending import register as registered
from keyfold.media.look import MediumState, checked_set, require_living
from keyfold.media.register import find
from keyfold.remote import Remote
from keyfold.restore.order import KIND, MERGE, MODES, PIN_KEEP, PIN_RESTORE, Order, invalid, order_of
from keyfold.restore.report import as_reply, pin_sentence
from keyfold.restore.run import Restore
from keyfold.restore.select import CLASSES, Selection


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "restore", "bring keys back from a backup set")
    draft = command(actions, "request", _request, _render_request, "write a request, for officers to sign")
    preview = command(actions, "preview", _preview, _render, "what a restore would do; changes nothing, needs nobody")
    apply = command(actions, "apply", _apply, _render, "carry out an approved request; safe to run again")
    for parser in (draft, preview):
        parser.add_argument("--partition", metavar="NAME", help="without it: every partition of the set")
        parser.add_argument("--set", metavar="ID", default=sets.LATEST, help="a set's ID (default: %(default)s)")
        parser.add_argument("--medium", metavar="MEDIUM", help="an offline medium that is plugged in, not the store")
        parser.add_argument("--mode", choices=MODES, default=MERGE)
        parser.add_argument("--as", dest="target", metavar="NAME", help="the new partition, with mode side-by-side")
        parser.add_argument(
            "--label", metavar="L", action="append", default=[], help="keys with this label; repeatable"
        )
        parser.add_argument("--id", metavar="HEX", action="append", default=[], help="keys with this ID; repeatable")
        parser.add_argument(
            "--class", dest="classes", action="append", default=[], choices=list(CLASSES), help="only this class"
        )
        parser.add_argument("--pin", choices=(PIN_KEEP, PIN_RESTORE), default=PIN_KEEP)
    for name, text in (
        ("ticket", "what the restore is done for"),
        ("reason", "in words, for the officers"),
        ("requested-by", "who asks for it"),
    ):
        draft.add_argument(f"--{name}", metavar="TEXT", required=True, help=text)
    draft.add_argument("--hours", type=int, default=24, help="how long it may be used (default: %(default)s)")
    draft.add_argument("--not-chargeable", action="store_true")
    for parser, needed in ((preview, False), (apply, True)):
        parser.add_argument(
            "--request",
            metavar="FILE",
            required=needed,
            help="the request, its .sig files beside it; - takes {approval} from standard input",
        )


def _order(args: argparse.Namespace, medium: str | None, *, chargeable: bool = True) -> Order:
    selection = Selection(tuple(args.label), tuple(args.id), tuple(args.classes))
    pin = args.pin == PIN_RESTORE
    return Order(args.partition, args.set, "", args.mode, selection, pin, args.target, chargeable, medium)


def _approval(args: argparse.Namespace) -> dict[str, Any]:
    found = standard_input().get("approval") if args.request == "-" else read_approval(Path(args.request))
    if not isinstance(found, dict):
        raise invalid("there is no approval on standard input", "see docs/approvals.md")
    return found


@contextmanager
def _source(context: Context, medium: str | None) -> Iterator[tuple[ClusterState, Remote, str | None]]:
    """Where the set lies, the cluster as seen from there, and the medium's ID; `medium`: its ID or name."""
    if medium is None:
        with reader(context) as remote:
            yield ClusterState(context.agent), remote, None
        return
    found = find(registered(context.agent), medium)
    require_living(found)
    with block(context).opened(found.device) as remote:
        cluster = MediumState(context.agent, found)
        checked_set(remote, cluster.identity(), found)
        yield cluster, remote, found.id


@contextmanager
def _restore(context: Context, medium: str | None) -> Iterator[tuple[Restore, str | None]]:
    """`medium` as `_source` has it, then its ID."""
    config, safety = context.config, partial(_safety, context)
    with _source(context, medium) as (cluster, remote, medium_id):
        yield Restore(cluster, remote, config.state, config.packages, context.clock, safety), medium_id


def _safety(context: Context, partitions: Sequence[str]) -> str:
    with writer(context) as remote:
        cluster = ClusterState(context.agent)
        backup = Backup(cluster, remote, partial(sign_with_system, context), context.config, context.clock)
        made = backup.run(partitions, manifest.SAFETY)
    # A set of partitions that were named is never empty.
    return "" if made is None else made.set_id


def _request(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    with _source(context, args.medium) as (cluster, remote, medium):
        identity, records = cluster.identity(), cluster.records(sets.RECORD_KIND)
        order = _order(args, medium, chargeable=not args.not_chargeable)
        stored, _ = sets.choose(sets.read_all(remote, identity.signer, records), args.set, records)
    fields = {
        "kind": KIND,
        "cluster": identity.uuid,
        **({} if args.partition is None else {"partition": args.partition}),
        "ticket": args.ticket,
        "reason": args.reason,
        "requested_by": args.requested_by,
        "expires": f"{context.clock.utc() + timedelta(hours=args.hours):%Y-%m-%dT%H:%M:%SZ}",
        **order.fields(),
        "set": stored.set_id,
        "manifest_sha256": stored.manifest_sha256,
    }
    text = yaml.safe_dump(fields, sort_keys=False, allow_unicode=True)
    # What is handed to the officers is what `apply` will accept.
    order_of(parse(text.encode()))
    return {"changed": False, "request": text, "set_id": stored.set_id}


def _render_request(reply: Mapping[str, Any]) -> str:
    return str(reply["request"]).rstrip("\n")


def _preview(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    if args.request is None:
        with _restore(context, args.medium) as (restore, medium):
            return as_reply(restore.preview(_order(args, medium)))
    asked = parse(decode(_approval(args))[0])
    order = order_of(asked)
    with _restore(context, order.medium) as (restore, _):
        return {**as_reply(restore.preview(order, asked.id)), "ticket": asked.ticket}


def _apply(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    approval = _approval(args)
    medium = order_of(parse(decode(approval)[0])).medium
    with _restore(context, medium) as (restore, _):
        return as_reply(restore.apply(approval, caller()))


def _render(reply: Mapping[str, Any]) -> str:
    rows = [("action", "partition", "class", "label", "id", "bytes", "file")]
    rows += [
        (
            row["action"],
            row["partition"],
            row["class"],
            row["label"] or "",
            row["id"] or "",
            str(row["size"]),
            row["file"],
        )
        for row in reply["plan"]
        if row["action"] != "untouched"
    ]
    counts = ", ".join(f"{count} {action}" for action, count in reply["counts"].items())
    lines = [f"from backup set {reply['set_id']}, mode {reply['mode']}: {counts or 'done already'}"]
    lines += [f"{partition}: {pin_sentence(pin)}" for partition, pin in reply["pins"].items()]
    if len(rows) > 1:
        lines.append(table(rows))
    if reply["report"]:
        lines += ["", reply["report"].rstrip("\n")]
    return "\n".join(lines)
