"""`keyfold backup-key`: move to the next epoch of the backup keys, and destroy those that no set needs."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.retire import retirable
from keyfold.commands.arguments import Subparsers, command, group, standard_input
from keyfold.commands.backup_store import reader
from keyfold.context import Context


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "backup-key", "the cluster's backup and signing keys")
    command(actions, "rotate", _rotate, _render, 'the next epoch\'s keys; {"root","from_epoch"} on standard input')
    retire = command(actions, "retire", _retire, _render_retired, "destroy private keys that no set needs any more")
    retire.add_argument("--dry-run", action="store_true", help="only say which")


def _rotate(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    given = standard_input()
    return {
        "changed": True,
        **context.agent.call("backup_key_rotate", root=given.get("root"), from_epoch=given.get("from_epoch")),
    }


def _retire(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    cluster = ClusterState(context.agent)
    identity = cluster.identity()
    with reader(context) as remote:
        found = sets.read_all(remote, identity.signer, cluster.records(sets.RECORD_KIND))
    epochs = retirable(identity.older, identity.backup_key_fingerprint, found)
    if epochs and not args.dry_run:
        context.agent.call("backup_key_retire", epochs=epochs)
    kept = [row["epoch"] for row in identity.older if not row["retired"] and row["epoch"] not in epochs]
    return {"changed": bool(epochs) and not args.dry_run, "retired": epochs, "kept": kept}


def _render(reply: Mapping[str, Any]) -> str:
    return f"the backup keys are those of epoch {reply['cluster']['backup_epoch']}"


def _render_retired(reply: Mapping[str, Any]) -> str:
    kept = ", ".join(map(str, reply["kept"])) or "none"
    return f"epochs no set needs: {', '.join(map(str, reply['retired'])) or 'none'}; still needed: {kept}"
