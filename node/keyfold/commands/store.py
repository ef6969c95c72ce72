"""`keyfold store check`: what the WebDAV server really does, in plain words, and whether Keyfold may use it."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from dataclasses import asdict
from typing import Any
from urllib.parse import urlsplit

from keyfold.backup.cluster import ClusterState
from keyfold.clock import stamp
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.commands.backup_store import access
from keyfold.context import Context
from keyfold.errors import EXIT_CODES, KeyfoldError
from keyfold.remote.check.fitness import RECORD_KIND, reasons, record, record_id
from keyfold.remote.check.grade import REFUSE, Grade, grade
from keyfold.remote.check.probes import Probes
from keyfold.remote.check.wire import Wire
from keyfold.remote.tls import Identity


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "store", "the WebDAV store")
    check = command(actions, "check", _check, _render, "probe the store as its writer, and grade it")
    check.add_argument("--url", metavar="URL", help="another store than this node's; it ends in /")


def _check(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    store = access(context)
    url = _usable(args.url or store.url)
    probes = Probes(Wire(url, Identity(store.ca, store.writer_cert, store.writer_key)), context.clock)
    found = grade(probes.run())
    kept = record(url, stamp(context.clock.utc()), found)
    ClusterState(context.agent).put_record(RECORD_KIND, record_id(url), kept)
    reply = {
        "changed": True,
        "url": url,
        "verdict": found.verdict,
        "write_once": found.write_once,
        "findings": [asdict(one) for one in found.findings],
        "left": probes.left,
    }
    return {**reply, **_refusal(url, found)} if found.verdict == REFUSE else reply


def _usable(url: str) -> str:
    address = urlsplit(url)
    if address.scheme != "https" or not address.hostname or not url.endswith("/"):
        raise KeyfoldError(
            "invalid",
            f"{url} is no address of a store: it begins with https:// and ends in /",
            not_done="nothing was probed",
            next_step="keyfold store check --url https://HOST/PATH/",
        )
    return url


def _refusal(url: str, found: Grade) -> dict[str, Any]:
    """The findings are worth showing, so this is a reply with an exit code and not an exception."""
    return {
        "ok": False,
        "code": "unfit",
        "exit_code": EXIT_CODES["unfit"],
        "what": f"the store {url} is unfit for backups: {'; '.join(reasons(found))}",
        "not_done": "Keyfold will not store anything there",
        "next": "correct the store or choose another, then run: keyfold store check",
    }


def _render(reply: Mapping[str, Any]) -> str:
    rows = [("probe", "what happened", "what it means", "verdict")]
    rows += [(one["probe"], one["happened"], one["means"], one["verdict"]) for one in reply["findings"]]
    lines = [table(rows), "", _conclusion(reply)]
    if not reply["write_once"]:
        lines.append("It is not write-once: whoever has the writer's identity can destroy backups.")
    if reply["left"]:
        lines.append(f"Left behind, because the writer may not delete: {reply['url']}{reply['left']}/")
    return "\n".join(lines)


def _conclusion(reply: Mapping[str, Any]) -> str:
    if reply["verdict"] == REFUSE:
        return f"REFUSE: {reply['what']}\nNot done: {reply['not_done']}\nNext: {reply['next']}"
    return {"good": "GOOD: the store does all that Keyfold asks for.", "adapt": "ADAPT: Keyfold can use it, as above."}[
        reply["verdict"]
    ]
