"""A `keyfold` command without a cluster, for the tests of the modules (docs/interfaces.md §5).

Copied to a temporary directory as an executable; beside it lie `state.json` (the cluster) and `calls.jsonl` (how it
was called: argv and the names, never the values, of its environment). Partitions are planned by the node's own
code, so that its answers and its errors are the real ones.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
from pathlib import Path
from typing import Any

HERE = Path(__file__).resolve().parent
sys.path.insert(0, (HERE / "node_path").read_text())

from keyfold.approval import officers  # noqa: E402
from keyfold.config import Package  # noqa: E402 - found only through the line above
from keyfold.errors import KeyfoldError  # noqa: E402
from keyfold.invalidation import plan as lifecycle  # noqa: E402
from keyfold.invalidation.entry import Entry, Selection  # noqa: E402
from keyfold.partition.plan import plan  # noqa: E402

PACKAGES = {
    "ECO": Package("ECO", 10485760, "always"),
    "PLATINUM": Package("PLATINUM", 125829120, "order"),
}


def main() -> int:
    options = _parser().parse_args()
    with (HERE / "calls.jsonl").open("a") as calls:
        calls.write(json.dumps({"argv": sys.argv, "environ": dict(os.environ)}) + "\n")
    state = json.loads((HERE / "state.json").read_text())
    try:
        reply = _refusal(state) or _COMMANDS[options.noun, options.verb](options, state)
    except KeyfoldError as error:
        reply = error.as_reply()
    (HERE / "state.json").write_text(json.dumps(state))
    print(json.dumps(reply))
    return int(reply.get("exit_code", 0))


def _refusal(state: dict[str, Any]) -> dict[str, Any] | None:
    """The next failure a test has put in line."""
    return state["failures"].pop(0) if state["failures"] else None


def _partition_apply(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    rows = state["partitions"]
    given = json.load(sys.stdin)
    changes = plan(given["partitions"], rows, PACKAGES)
    state["approvals"] = given.get("approvals", [])
    if not options.check and any(change.needs_approval for change in changes) and not state["approvals"]:
        raise KeyfoldError(
            "unapproved",
            "'policy' of partition acme needs the approval of 2 of ada, grace",
            not_done="nothing was approved or changed",
            next_step="ssh-keygen -Y sign",
        )
    for change in changes:
        if not options.check and change.action != "none":
            rows[change.name] = dict(change.after)
            state["revision"] += 1
    return {
        "ok": True,
        "changed": any(change.action != "none" for change in changes),
        "changes": [change.as_reply() for change in changes],
        "revision": state["revision"],
    }


def _partition_handover(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    for name in options.partitions:
        if name not in state["partitions"]:
            raise KeyfoldError(
                "not_found", f"nothing for {name}", not_done="nothing was read", next_step="keyfold partition list"
            )
    sealed_to = state.get("sealed_to", ["ada"])
    sealed = {
        "user_sealed_to": "age1…",
        "so_sealed_to": sealed_to,
        "so": "sealed to officers\n" if sealed_to else None,
    }
    return {"ok": True, "handover": {name: {**sealed, "user": f"sealed for {name}\n"} for name in options.partitions}}


def _officers_apply(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    given = json.load(sys.stdin)
    kept = state["officers"]
    change = officers.plan(given, officers.decode(None if kept is None else json.dumps(kept).encode()))
    approval = given.get("approval")
    if not options.check and change.needs_approval and approval is None:
        raise KeyfoldError("unapproved", "it needs 2 of ada, grace", not_done="nothing", next_step="ssh-keygen -Y sign")
    if not options.check:
        state["officers"], state["approval"] = change.after.as_row(), approval
    return {
        "ok": True,
        "action": change.action,
        "before": change.before.as_row(),
        "after": change.after.as_row(),
        "approved_by": [] if approval is None else ["ada", "grace"],
    }


def _status(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    # Nodes lag for as many questions as the test wants.
    lag = 0
    if state["lags"]:
        lag = state["lags"].pop(0)
    nodes = [
        {**node, "applied_revision": state["revision"] - (lag if node["agent"] == "up" else 999)}
        for node in state["nodes"]
    ]
    return {
        "ok": True,
        "cluster": state["cluster"],
        "node": "hsm1",
        "quorum": state["quorum"],
        "revision": state["revision"],
        "nodes": nodes,
        "partitions": [{"name": name, **row} for name, row in state["partitions"].items()],
        "last_backup": (state["sets"] or [None])[0],
    }


def _cluster_init(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    wish = json.load(sys.stdin)
    changed = state["cluster"] is None
    if changed:
        state["cluster"] = {"uuid": wish["uuid"], "name": wish["name"], "epoch": 1, "custody": wish["custody"]}
        state["cluster"]["backup_epoch"] = 1
        state["root_digest"] = hashlib.sha256(wish["root"].encode()).hexdigest()
    elif state["cluster"]["uuid"] != wish["uuid"]:
        raise KeyfoldError(
            "conflict", "this is another cluster", not_done="nothing was changed", next_step="keyfold cluster info"
        )
    return {"ok": True, "changed": changed, "cluster": state["cluster"]}


def _cluster_info(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    if state["cluster"] is None:
        raise KeyfoldError(
            "not_found", "there is no cluster yet", not_done="nothing was read", next_step="keyfold cluster init"
        )
    return {"ok": True, "cluster": state["cluster"]}


def _backup_key_rotate(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    wish = json.load(sys.stdin)
    state["rotated_with"] = hashlib.sha256(wish["root"].encode()).hexdigest()
    state["cluster"]["backup_epoch"] = wish["from_epoch"] + 1
    return {"ok": True, "changed": True, "cluster": state["cluster"]}


def _rebuild_info(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "changed": False, "sets": state["store"]}


def _rebuild_run(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    wish = json.load(sys.stdin)
    reply = {"ok": True, "set_id": options.set, "created": "2026", "partitions": [], "verified_sets": 1}
    if options.dry_run:
        return reply | {"changed": False}
    state["rebuilt_with"] = hashlib.sha256(wish["root"].encode()).hexdigest()
    return reply | {"changed": True, "without_backup": [], "invalidated": 0, "entries": 0}


def _backup_run(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    names = options.partition or list(state["partitions"])
    made: dict[str, Any] = {
        "created": "2026-01-01T00:00:00.000000Z",
        "partitions": [{"name": name, "objects": 3} for name in names],
    }
    if not options.dry_run:
        made |= {"set_id": f"set-{len(state['sets']) + 1}", "sequence": len(state["sets"]) + 1, "verified": True}
        state["sets"].insert(0, made)
    return {"ok": True, "changed": not options.dry_run, "set": made}


def _backup_list(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "sets": state["sets"]}


def _restore(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    """Mode merge, of everything; an approval without signatures is refused, and one that was used does nothing."""
    given = json.load(sys.stdin)["approval"]
    apply, done = options.verb == "apply", given["request"] in state["restored"]
    if apply and not given["signatures"]:
        raise KeyfoldError("unapproved", "nobody signed", not_done="nothing", next_step="ssh-keygen -Y sign")
    actions = {"missing": "add", "invalidated": "reactivate", "live": "untouched"}
    names = ("file", "class", "label", "id", "size")
    entries = [
        {"action": actions[row["state"]], "partition": "acme", **{key: row[key] for key in names}}
        for row in state["backup_objects"]
    ]
    record = {"ticket": "REQ-1", "finished": "2026-01-01T00:00:00Z"} if apply else None
    if apply:
        state["restored"].append(given["request"])
        for row in state["backup_objects"]:
            row["state"] = "live"
    return {
        "ok": True,
        "changed": apply and not done,
        "set_id": "set-1",
        "partition": "acme",
        "mode": "merge",
        "plan": [] if done and apply else entries,
        "counts": {name: [e["action"] for e in entries].count(name) for name in actions.values()},
        "pins": {"acme": "kept"},
        "revision": state["revision"] if apply else None,
        "record": record,
        "report": "Restore for ticket REQ-1" if record else None,
    }


def _entries(state: dict[str, Any], wanted: str) -> list[Entry]:
    return [Entry(**row) for row in state["objects"] if state["life"][row["file"]] == wanted]


def _object_change(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    """The node's own plan; the officers approve whatever is given."""
    selection = Selection.of({"files": options.file, "labels": options.label, "ids": options.id})
    live, kept = _entries(state, "live"), _entries(state, "invalidated")
    if options.verb == "reactivate":
        made = lifecycle.reactivate(selection, live, kept, with_public=not options.without_public)
    else:
        gone = {one.file for one in _entries(state, "purged")}
        made = lifecycle.purge(selection, {one.file for one in live}, kept, gone)
    revision = None
    if made.writes and not options.dry_run:
        if options.approval is None:
            raise KeyfoldError(
                "unapproved", "nobody signed", not_done="nothing", next_step="ssh-keygen -Y sign -n keyfold-approval"
            )
        state["approval"] = json.load(sys.stdin)["approval"]
        state["revision"] += 1
        revision = state["revision"]
        after = "live" if options.verb == "reactivate" else "purged"
        state["life"] |= {one.file: after for one in made.writes}
    history = {"compacted": revision, "problems": {}} if revision and options.verb == "purge" else None
    return {"ok": True, "plan": made.rows(), "files": made.files, "revision": revision, "history": history}


def _object_list(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    found = _entries(state, "invalidated" if options.invalidated else "live")
    return {"ok": True, "objects": [one.as_row("") for one in found]}


def _partition_unlock(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    failed = [user for user in state["failed_logins"] if options.user in (None, user)]
    if not options.dry_run:
        state["failed_logins"] = [user for user in state["failed_logins"] if user not in failed]
    return {"ok": True, "partition": options.partition, "unlocked": failed}


def _drill_prepare(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    missing = "keyfold-canary" not in state["partitions"]
    if missing and not options.dry_run:
        state["partitions"]["keyfold-canary"] = {}
    return {"ok": True, "changed": missing, "dry_run": options.dry_run}


def _drill_run(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "changed": True, "drill": {"drill_id": "drill-1", "passed": True, "partitions": []}}


def _media_list(_options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "media": state["media"]}


def _media_write(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    shown = {"name": options.name, "device": options.device, "node": "/dev/sdz", "lost": ["gpt"], "partitions": []}
    if options.dry_run:
        return {"ok": True, "changed": False, "plan": shown, "medium": None}
    row = {"id": f"m-{len(state['media']) + 1}", "name": options.name, "state": "active", "destroyed": None}
    state["media"].append(row)
    return {"ok": True, "changed": True, "plan": shown, "medium": row}


def _media_verify(_options: argparse.Namespace, _state: dict[str, Any]) -> dict[str, Any]:
    return {"ok": True, "changed": False, "objects": {"acme": 3}}


def _media_destroy(options: argparse.Namespace, state: dict[str, Any]) -> dict[str, Any]:
    row = next(one for one in reversed(state["media"]) if options.medium in (one["id"], one["name"]))
    lives = row["destroyed"] is None
    if lives and not options.dry_run:
        row |= {"state": "destroyed", "destroyed": {"because": "asked"}, "certificate": "signed"}
    changed = lives and not options.dry_run
    return {"ok": True, "changed": changed, "would_change": lives, "medium": row, "outstanding": None}


_COMMANDS = {
    ("object", "list"): _object_list,
    ("object", "reactivate"): _object_change,
    ("object", "purge"): _object_change,
    ("partition", "unlock"): _partition_unlock,
    ("status", None): _status,
    ("partition", "apply"): _partition_apply,
    ("partition", "handover"): _partition_handover,
    ("officers", "apply"): _officers_apply,
    ("cluster", "init"): _cluster_init,
    ("cluster", "info"): _cluster_info,
    ("backup-key", "rotate"): _backup_key_rotate,
    ("rebuild", "info"): _rebuild_info,
    ("rebuild", "run"): _rebuild_run,
    ("backup", "run"): _backup_run,
    ("backup", "list"): _backup_list,
    ("drill", "prepare"): _drill_prepare,
    ("drill", "run"): _drill_run,
    ("media", "list"): _media_list,
    ("media", "write"): _media_write,
    ("media", "verify"): _media_verify,
    ("media", "destroy"): _media_destroy,
    ("restore", "preview"): _restore,
    ("restore", "apply"): _restore,
}


def _parser() -> argparse.ArgumentParser:
    """Only the options the contract has: a module that makes one up fails."""
    parser = argparse.ArgumentParser(allow_abbrev=False)
    nouns = parser.add_subparsers(dest="noun", required=True)
    nouns.add_parser("status").add_argument("--json", action="store_true", required=True)
    verbs: dict[str, Any] = {}
    for noun, verb in _COMMANDS:
        if verb is None:
            continue
        if noun not in verbs:
            verbs[noun] = nouns.add_parser(noun).add_subparsers(dest="verb", required=True)
        command = verbs[noun].add_parser(verb, allow_abbrev=False)
        command.add_argument("--json", action="store_true", required=True)
        if (noun, verb) == ("rebuild", "run"):
            command.add_argument("--set", required=True)
            command.add_argument("--dry-run", action="store_true")
        if verb == "apply" and noun in ("partition", "officers"):
            command.add_argument("--check", action="store_true")
        if (noun, verb) == ("partition", "handover"):
            command.add_argument("partitions", nargs="+")
        if (noun, verb) == ("backup", "run"):
            command.add_argument("--partition", action="append")
            command.add_argument("--dry-run", action="store_true")
        if (noun, verb) == ("drill", "prepare"):
            command.add_argument("--dry-run", action="store_true")
        if noun == "media" and verb in ("verify", "destroy"):
            command.add_argument("medium")
        if noun == "media" and verb in ("write", "destroy"):
            for name in ("--ticket", "--reason"):
                command.add_argument(name, required=True)
            command.add_argument("--dry-run", action="store_true")
        if (noun, verb) == ("media", "write"):
            command.add_argument("name")
            command.add_argument("--device", required=True)
            command.add_argument("--partition", action="append", required=True)
            for name in ("--overwrite", "--allow-fixed"):
                command.add_argument(name, action="store_true")
        if noun == "object":
            command.add_argument("partition")
        if noun == "object" and verb != "list":
            for name in ("--file", "--label", "--id"):
                command.add_argument(name, action="append", default=[])
            command.add_argument("--dry-run", action="store_true")
            command.add_argument("--approval")
        if (noun, verb) == ("object", "list"):
            command.add_argument("--invalidated", action="store_true")
        if (noun, verb) == ("object", "reactivate"):
            command.add_argument("--without-public", action="store_true")
        if (noun, verb) == ("partition", "unlock"):
            command.add_argument("partition")
            command.add_argument("--user")
            command.add_argument("--dry-run", action="store_true")
        if noun == "restore":
            command.add_argument("--request", required=True, choices=["-"])
    parser.set_defaults(verb=None)
    return parser


if __name__ == "__main__":
    raise SystemExit(main())
