"""`keyfold drill`: restore the newest set into a scratch SoftHSM as a test; show and prove what drills found."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

from keyfold.backup.cluster import ClusterState
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.commands.backup_store import access, reader
from keyfold.config import credential
from keyfold.context import Context
from keyfold.custody.signing import sign
from keyfold.drill import canary
from keyfold.drill.canary import Canary
from keyfold.drill.evidence import Evidence, verify
from keyfold.drill.hsm import SoftHsm
from keyfold.drill.run import RECORD_KIND, Drill
from keyfold.errors import EXIT_CODES, KeyfoldError
from keyfold.partition.policy import SYSTEM


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "drill", "restores as a test, with signed evidence")
    prepare = command(actions, "prepare", _prepare, _render_prepare, "make the cluster's canary, once")
    prepare.add_argument("--dry-run", action="store_true", help="only say whether there is one")
    command(actions, "run", _run, _render_run, "restore the newest set into a scratch SoftHSM now")
    command(actions, "list", _list, _render_list, "the drills there were, newest first")
    check = command(actions, "verify", _verify, _render_list, "prove the evidence of drills")
    check.add_argument("drill", metavar="DRILL", nargs="?", help="only this one")
    check.add_argument("--file", type=Path, metavar="FILE", help="evidence in a file instead of the cluster's records")


def _prepare(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    access(context)
    made = Canary(context.agent, context.config, context.clock, partial(_sign, context), SoftHsm())
    if args.dry_run:
        return {"changed": not made.ready(), "dry_run": True}
    return {"changed": made.prepare(), "dry_run": False}


def _run(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    with reader(context) as remote:
        made = Drill(context.agent, remote, partial(_sign, context), SoftHsm(), context.config, context.clock).run()
    reply = {"changed": True, "drill": _shown(made)}
    return reply if made.passed else {**reply, **_failure(made)}


def _failure(made: Evidence) -> dict[str, Any]:
    """The evidence is worth showing, so this is a reply with an exit code and not an exception."""
    problems = [made.problem, *(f"{one.name}: {one.problem}" for one in made.partitions if one.problem)]
    return {
        "ok": False,
        "code": "refused",
        "exit_code": EXIT_CODES["refused"],
        "what": f"the drill {made.drill_id} did not pass: {'; '.join(filter(None, problems))}",
        "not_done": "it is not proven that the newest backup set restores; the evidence says so",
        "next": "docs/runbooks/drill.md: keyfold backup verify, keyfold backup run, then keyfold drill run",
    }


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    """Believed or not is said of each; only `verify` fails."""
    return {"drills": [row for _, row in _judged(context)]}


def _verify(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    if args.file is not None:
        return {"changed": False, "drills": [_shown(_verified(context, args.file.read_bytes()))]}
    found = [(name, row) for name, row in _judged(context) if args.drill in (None, name)]
    if not found and args.drill is not None:
        raise KeyfoldError(
            "not_found",
            f"there is no drill {args.drill}",
            not_done="nothing was verified",
            next_step="keyfold drill list",
        )
    bad = [f"{name}: {row['refused']}" for name, row in found if row["refused"]]
    if bad:
        raise KeyfoldError(
            "refused",
            f"the evidence of {len(bad)} of {len(found)} drills is refused: {'; '.join(bad)}",
            not_done="these drills prove nothing",
            next_step="compare with the files in /var/lib/keyfold/drills on the node that ran them",
        )
    return {"changed": False, "drills": [row for _, row in found]}


def _judged(context: Context) -> list[tuple[str, dict[str, Any]]]:
    """(ID, row) of every drill recorded; `refused` says why its evidence is not believed, or is None."""
    judged = []
    for name, record in sorted(ClusterState(context.agent).records(RECORD_KIND).items(), reverse=True):
        try:
            evidence = _verified(context, str(record["document"]).encode())
        except KeyfoldError as error:
            row = {"drill_id": name, "passed": False, "refused": error.what}
        else:
            swapped = None if evidence.drill_id == name else f"it is the evidence of {evidence.drill_id}"
            row = {**_shown(evidence), "drill_id": name, "refused": swapped}
        judged.append((name, row))
    return judged


def _verified(context: Context, document: bytes) -> Evidence:
    cluster = ClusterState(context.agent)
    known = {name: row["public_key"] for name, row in cluster.records(canary.RECORD_KIND).items()}
    return verify(document, cluster.identity().signer, known)


def _sign(context: Context, message: bytes, epoch: int) -> bytes:
    return sign(context.config.partition_directory(SYSTEM), credential("system.pin"), message, epoch)


def _shown(evidence: Evidence) -> dict[str, Any]:
    return {**asdict(evidence), "passed": evidence.passed}


def _render_prepare(reply: Mapping[str, Any]) -> str:
    if not reply["changed"]:
        return "the canary is there"
    return "the canary would be made" if reply["dry_run"] else "the canary is made; the next backup set has it"


def _render_run(reply: Mapping[str, Any]) -> str:
    made = reply["drill"]
    rows = [("partition", "objects", "result")]
    rows += [(one["name"], str(one["objects"]), one["problem"] or "as it was") for one in made["partitions"]]
    lines = [f"drill {made['drill_id']} of set {made['set_id'] or '(none)'}, {made['seconds']} s", table(rows)]
    if made["passed"]:
        return "\n".join([*lines, "PASSED: everything restores, and the restored canary key signs. Evidence is kept."])
    return "\n".join([*lines, f"FAILED: {reply['what']}", f"Not done: {reply['not_done']}", f"Next: {reply['next']}"])


def _render_list(reply: Mapping[str, Any]) -> str:
    if not reply["drills"]:
        return "there was no drill yet: keyfold drill run"
    rows: list[Sequence[str]] = [("drill", "node", "set", "partitions", "seconds", "result")]
    for row in reply["drills"]:
        if row.get("refused"):
            rows.append((row["drill_id"], "?", "?", "?", "?", f"NOT BELIEVED: {row['refused']}"))
        else:
            figures = (str(len(row["partitions"])), str(row["seconds"]))
            result = "passed" if row["passed"] else "FAILED"
            rows.append((row["drill_id"], row["node"], row["set_id"], *figures, result))
    return table([tuple(row) for row in rows])
