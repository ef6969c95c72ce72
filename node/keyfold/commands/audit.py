"""`keyfold audit`: prove the chain, read it."""

from __future__ import annotations

import argparse
import base64
from collections.abc import Iterator, Mapping
from typing import Any

from keyfold.audit.entry import Entry, Head, Malformed, decode
from keyfold.audit.verify import Broken, ChainCheck
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.context import Context
from keyfold.errors import KeyfoldError

_KEY_BYTES = 32


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "audit", "what happened, in a signed chain")
    verify = command(actions, "verify", _verify, _render_verify, "prove the chain from the first entry to the last")
    verify.add_argument(
        "--public-key",
        metavar="[EPOCH:]HEX",
        action="append",
        default=[],
        help="the audit key as you know it, instead of etcd's word for it; repeatable",
    )
    verify.add_argument(
        "--expect",
        metavar="SEQ:HASH",
        action="append",
        default=[],
        help="an entry that must be in the chain, as a journal or a report has it; repeatable",
    )
    listing = command(actions, "list", _list, _render_list, "the entries, oldest first; their proof is 'verify'")
    listing.add_argument("--since", metavar="SEQ", type=int, default=1, help="from this entry on")
    listing.add_argument("--partition", metavar="NAME", help="only what concerns this partition")


def _verify(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    cluster = context.agent.call("cluster_info")["cluster"]
    keys = {int(epoch): bytes.fromhex(key) for epoch, key in cluster["audit_public_keys"].items()}
    keys.update(_given_keys(args.public_key))
    stream = context.agent.stream("audit_entries", since=0)
    start = next(stream)
    check = ChainCheck(context.config.cluster_uuid, keys, dict(_expected(args.expect)))
    try:
        for reply in _items(stream):
            check.feed(reply["name"], base64.b64decode(reply["value"]))
        check.finish(None if start["head"] is None else Head(**start["head"]))
    except Broken as broken:
        raise KeyfoldError(
            "refused",
            f"the audit chain is broken at entry {broken.seq}: {broken.reason}",
            not_done=f"entries before it are proven ({check.head.seq}); nothing from there on can be believed",
            next_step="compare with the nodes' journals: journalctl -t keyfold-audit; see docs/audit.md",
        ) from None
    return {
        "entries": check.head.seq,
        "hash": check.head.hash if check.head.seq else None,
        "revision": check.head.revision,
        "pending": start["pending"],
        "oldest_pending_seconds": start["oldest_pending_seconds"],
    }


def _items(stream: Iterator[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for reply in stream:
        if reply.get("end"):
            return
        yield reply
    raise KeyfoldError(
        "agent_down",
        "the agent's answer ended in the middle",
        not_done="the chain was not read to its end",
        next_step="systemctl status keyfold-agent; then run this again",
    )


def _given_keys(texts: list[str]) -> Iterator[tuple[int, bytes]]:
    for text in texts:
        epoch, _, key = text.rpartition(":")
        try:
            number, public = int(epoch or 1), bytes.fromhex(key)
        except ValueError:
            number, public = 0, b""
        if number < 1 or len(public) != _KEY_BYTES:
            raise _invalid(f"the public key {text!r} is not [EPOCH:]64 hex digits", "keyfold cluster info shows it")
        yield number, public


def _expected(texts: list[str]) -> Iterator[tuple[int, str]]:
    for text in texts:
        seq, _, digest = text.partition(":")
        if not seq.isdecimal() or len(digest) != 2 * _KEY_BYTES:
            raise _invalid(f"{text!r} is not SEQ:HASH", "journalctl -t keyfold-audit -o verbose has both")
        yield int(seq), digest.lower()


def _render_verify(reply: Mapping[str, Any]) -> str:
    lines = [f"{reply['entries']} entries, every link and signature holds (etcd revision {reply['revision']})"]
    if reply["hash"]:
        lines.append(f"last entry: {reply['entries']}:{reply['hash']}")
    lines.append(
        f"{reply['pending']} notes are not linked yet, the oldest for {reply['oldest_pending_seconds']} s"
        if reply["pending"]
        else "no notes wait to be linked"
    )
    return "\n".join(lines)


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    stream = context.agent.stream("audit_entries", since=max(args.since, 1))
    next(stream)
    entries = []
    for reply in _items(stream):
        entry = _entry(reply)
        if args.partition in (None, entry.note.get("partition")):
            entries.append({"seq": entry.fields["seq"], "revision": entry.fields["revision"], **entry.note})
    return {"entries": entries}


def _entry(reply: Mapping[str, Any]) -> Entry:
    try:
        return decode(base64.b64decode(reply["value"]))
    except Malformed as error:
        raise KeyfoldError(
            "refused",
            f"entry {reply['name']} of the audit chain was altered: {error}",
            not_done="the chain was not listed",
            next_step="keyfold audit verify",
        ) from error


def _render_list(reply: Mapping[str, Any]) -> str:
    columns = ("seq", "time", "what", "who", "partition", "node")
    return table([columns, *(tuple(str(row.get(name, "")) for name in columns) for row in reply["entries"])])


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="nothing was verified", next_step=next_step)
