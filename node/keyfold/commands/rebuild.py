"""`keyfold rebuild`: a lost cluster out of its root and the store; only playbooks/rebuild.yml brings the root."""

from __future__ import annotations

import argparse
import json
from collections.abc import Mapping
from typing import Any

from keyfold.backup import sets
from keyfold.commands.arguments import Subparsers, command, group, standard_input
from keyfold.commands.backup_store import reader
from keyfold.config import credential
from keyfold.context import Context
from keyfold.custody.derive import ROOT_BYTES
from keyfold.custody.signing import sign
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import SYSTEM
from keyfold.restore.rebuild import Rebuild, RebuildPlan, Rebuilt


def register(subparsers: Subparsers) -> None:
    actions = group(subparsers, "rebuild", "bring a lost cluster back from the store")
    command(actions, "info", _info, _render_info, "the store's sets of this cluster, and which shares they need")
    run = command(actions, "run", _run, _render, 'rebuild; {"root","custody"} on standard input')
    run.add_argument("--set", metavar="ID", default=sets.LATEST, help="a set's ID (default: %(default)s)")
    run.add_argument("--dry-run", action="store_true", help="check the store and its archives, make nothing")


def _info(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    """Nothing here is proven: only the root can tell whose signature counts."""
    uuid = context.config.cluster_uuid
    rows = []
    with reader(context) as remote:
        for entry in sorted(remote.list(uuid), key=lambda entry: entry.name, reverse=True):
            document = sets.read_document(remote, uuid, entry.name) if entry.collection else None
            if document is not None:
                rows.append(_claimed(entry.name, document))
    if not rows:
        raise KeyfoldError(
            "not_found",
            f"the store at {context.config.store.url if context.config.store else '?'} has no set of cluster {uuid}",
            not_done="nothing was read",
            next_step="check keyfold_store_url and the cluster's UUID (it is printed on every share sheet)",
        )
    return {"changed": False, "cluster_uuid": uuid, "sets": rows}


def _claimed(set_id: str, document: bytes) -> dict[str, Any]:
    shown = ("created", "backup_epoch", "root_fingerprint", "share_identifier", "share_threshold")
    try:
        raw = json.loads(document.split(b"\n")[0])
        names = [str(entry["name"]) for entry in raw["partitions"]]
        return {"set_id": set_id, "partitions": names, **{key: raw.get(key) for key in shown}}
    except (ValueError, TypeError, KeyError):
        return {"set_id": set_id, "partitions": [], **dict.fromkeys(shown)}


def _run(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    given = standard_input()
    root = _root(given.get("root"))
    with reader(context) as remote:

        def sign_(message: bytes, epoch: int) -> bytes:
            return sign(context.config.partition_directory(SYSTEM), credential("system.pin"), message, epoch)

        rebuild = Rebuild(context.agent, remote, context.config, context.clock, sign_)
        if args.dry_run:
            return _reply(rebuild.preview(root, args.set), None)
        return _reply(*rebuild.run(root, args.set, given.get("custody")))


def _root(value: object) -> bytes:
    try:
        root = bytes.fromhex(value if isinstance(value, str) else "")
    except ValueError:
        root = b""
    if len(root) != ROOT_BYTES:
        raise KeyfoldError(
            "invalid",
            f"the root is not {ROOT_BYTES} bytes in hex",
            not_done="nothing was made",
            next_step="run playbooks/rebuild.yml, which recovers the root from the shares",
        )
    return root


def _reply(plan: RebuildPlan, rebuilt: Rebuilt | None) -> dict[str, Any]:
    rows = [
        {
            "name": name,
            "set_id": source.manifest.set_id,
            "objects": source.entry.objects if rebuilt is None else rebuilt.partitions.get(name, 0),
        }
        for name, source in sorted(plan.sources.items())
    ]
    reply: dict[str, Any] = {"set_id": plan.manifest.set_id, "created": plan.manifest.created, "partitions": rows}
    reply |= {"changed": rebuilt is not None, "verified_sets": plan.verified_sets}
    if rebuilt is not None:
        reply |= {"without_backup": list(rebuilt.without_backup), "invalidated": rebuilt.invalidated}
        reply |= {"entries": rebuilt.entries}
    return reply


def _render_info(reply: Mapping[str, Any]) -> str:
    return "\n".join(
        f"{row['set_id']}  made {row['created']}, {len(row['partitions'])} partitions, {row['share_threshold']} shares "
        f"of root {str(row['root_fingerprint'])[:16]}"
        for row in reply["sets"]
    )


def _render(reply: Mapping[str, Any]) -> str:
    verb = "rebuilt" if reply["changed"] else "would be rebuilt"
    lines = [f"the cluster {verb} from set {reply['set_id']} of {reply['created']}:"]
    lines += [f"  {row['name']}: {row['objects']} objects, set {row['set_id']}" for row in reply["partitions"]]
    lines += [f"  {name}: no set has it, it does not come back" for name in reply.get("without_backup", ())]
    return "\n".join(lines)
