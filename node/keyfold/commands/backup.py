"""`keyfold backup`: make a set now, list the sets, verify them without keys."""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from functools import partial
from typing import Any

from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.run import Backup, BackupPlan
from keyfold.backup.sets import StoredSet
from keyfold.backup.verify import require_good, verify_sets
from keyfold.clock import stamp
from keyfold.commands.arguments import Subparsers, command, group, table
from keyfold.commands.backup_store import reader, writer
from keyfold.config import credential
from keyfold.context import Context
from keyfold.custody.signing import sign
from keyfold.expiry.plan import HOLD, KEEP, Decision
from keyfold.expiry.survey import foresee
from keyfold.partition.policy import SYSTEM


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "backup", "backup sets in the store")
    run = command(actions, "run", _run, _render_run, "make a backup set now")
    run.add_argument("--partition", metavar="NAME", action="append", default=[], help="only this one; repeatable")
    run.add_argument("--daily", action="store_true", help="only if no set of everything was made in the last 6 hours")
    run.add_argument("--dry-run", action="store_true", help="only say what would be backed up")
    command(actions, "list", _list, _render_sets, "every set in the store, newest first")
    verify = command(actions, "verify", _verify, _render_sets, "check signatures, chain and archives, without keys")
    verify.add_argument("set", metavar="SET", nargs="?", help="only this set")


def _run(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    with writer(context) as remote:
        backup = Backup(
            ClusterState(context.agent), remote, partial(sign_with_system, context), context.config, context.clock
        )
        if args.dry_run:
            return {"changed": False, "set": _planned(backup.plan(args.partition))}
        made = backup.run(args.partition, daily=args.daily)
        if made is None:
            return {"changed": False, "set": _planned(BackupPlan(0, "", ()))}
        return {"changed": True, "set": _published(made)}


def sign_with_system(context: Context, message: bytes, epoch: int) -> bytes:
    return sign(context.config.partition_directory(SYSTEM), credential("system.pin"), message, epoch)


def _list(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    cluster = ClusterState(context.agent)
    with reader(context) as remote:
        signer, records = cluster.identity().signer, cluster.records(sets.RECORD_KIND)
        found = sets.read_all(remote, signer, records)
        leaving = foresee(remote, signer, found, context.clock.utc())
    return {"sets": [{**_stored(one), **_leaving(leaving[one.set_id])} for one in found]}


def _leaving(decision: Decision) -> dict[str, Any]:
    due = None if decision.due is None else stamp(decision.due)
    return {"expires": due, "expiry": decision.action, "expiry_reason": decision.reason}


def _verify(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    cluster = ClusterState(context.agent)
    with reader(context) as remote:
        checked = verify_sets(remote, cluster.identity().signer, cluster.records(sets.RECORD_KIND), args.set)
    require_good(checked)
    return {"changed": False, "sets": [_stored(one) for one in checked]}


def _planned(plan: BackupPlan) -> dict[str, Any]:
    return {
        "sequence": plan.sequence,
        "partitions": [
            {"name": partition.name, "objects": partition.objects, "size_bytes": partition.live_bytes}
            for partition in plan.partitions
        ],
        "verified": False,
        "differences": [],
    }


def _published(made: Manifest) -> dict[str, Any]:
    return {
        "set_id": made.set_id,
        "sequence": made.sequence,
        "created": made.created,
        "revision": made.revision,
        "partitions": _entries(made.partitions),
        "verified": True,
        "differences": [asdict(difference) for difference in made.differences],
    }


def _stored(stored: StoredSet) -> dict[str, Any]:
    made = stored.manifest
    return {
        "set_id": stored.set_id,
        "sequence": None if made is None else made.sequence,
        "created": None if made is None else made.created,
        "partitions": [] if made is None else _entries(made.partitions),
        "verified": not stored.problem,
        "problem": stored.problem or None,
    }


def _entries(entries: Sequence[ArchiveEntry]) -> list[dict[str, Any]]:
    shown = ("name", "objects", "size_bytes", "ciphertext_sha256")
    return [{key: getattr(entry, key) for key in shown} for entry in entries]


def _render_run(reply: Mapping[str, Any]) -> str:
    made = reply["set"]
    rows = [("partition", "objects", "bytes")]
    rows += [(row["name"], str(row["objects"]), str(row["size_bytes"])) for row in made["partitions"]]
    if not made["partitions"]:
        return "no partition is entitled to a backup, or the daily set is there: nothing to do"
    if not reply["changed"]:
        return f"would make set number {made['sequence']}:\n{table(rows)}"
    lines = [f"backup set {made['set_id']} (number {made['sequence']}) is in the store, read back and signed:"]
    lines.append(table(rows))
    lines += [f"WARNING: {row['partition']}/{row['file']} is {row['kind']} on this node" for row in made["differences"]]
    return "\n".join(lines)


def _render_sets(reply: Mapping[str, Any]) -> str:
    rows = [("set", "number", "created", "partitions", "objects", "bytes", "state", "goes")]
    for row in reply["sets"]:
        parts = row["partitions"]
        figures = (len(parts), sum(part["objects"] for part in parts), sum(part["size_bytes"] for part in parts))
        state = "verified" if row["verified"] else row["problem"]
        shown = (
            row["set_id"],
            str(row["sequence"] or "?"),
            row["created"] or "?",
            *(str(one) for one in figures),
            state,
        )
        rows.append((*shown, _goes(row)))
    return table(rows) if reply["sets"] else "the store has no backup set"


def _goes(row: Mapping[str, Any]) -> str:
    """When a set goes, or why it is held; `verify` does not ask."""
    if "expiry" not in row or row["expiry"] == KEEP:
        return str(row.get("expires", ""))
    return f"held: {row['expiry_reason']}" if row["expiry"] == HOLD else "at the next expiry"
