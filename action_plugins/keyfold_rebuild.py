"""Ansible action: bring a lost cluster back out of the custodians' shares and the store.

Documentation: library/keyfold_rebuild.py. The root exists in this process only, and goes over standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

# Ansible finds module_utils for what it sends to hosts, not for what runs here.
sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
from keyfold_controller import SHARE_OPTIONS, ControllerError, Node, NodeAction, entered, recovered
from keyfold_shares import Expected, expected

_RECORDED = ("identifier", "threshold", "shares", "root_fingerprint", "custodians", "created")

ARGUMENT_SPEC: dict[str, Any] = {
    "uuid": {"type": "str", "required": True},
    "set": {"type": "str", "default": "latest"},
    **SHARE_OPTIONS,
    "custody_file": {"type": "path", "required": True},
    "command": {"type": "path", "default": "/usr/bin/keyfold"},
}


class ActionModule(NodeAction):
    argument_spec = ARGUMENT_SPEC

    def act(self, node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """Check the shares and the store; rebuild unless it is check mode."""
        return _rebuild(node, options, check=check)


def _rebuild(node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    cluster = node.cluster()
    if cluster is not None and "rebuilding" not in cluster:
        raise ControllerError(
            f"the cluster {cluster['name']} ({cluster['uuid']}) is alive on these nodes",
            not_done="nothing was rebuilt",
            next_step="keyfold status; a living cluster is mended with playbooks/restore.yml; "
            "where it has just been rebuilt, playbooks/site.yml makes the rest",
        )
    custody = _custody(Path(options["custody_file"]), options["uuid"])
    wanted = _of_the_store(node, options) if custody is None else expected(options["uuid"], custody)
    shares = entered(options["share_files"], options["identity_files"])
    root = recovered(shares, wanted, "nothing was made")
    chosen = options["set"]
    if cluster is not None and chosen == "latest":
        # A rebuild that was interrupted goes on with the set it began with.
        chosen = cluster["rebuilding"]["set_id"]
    words = ["rebuild", "run", f"--set={chosen}"]
    reply = node.run([*words, "--dry-run"] if check else words, secrets={"root": root.hex(), "custody": custody})
    del reply["ok"]
    return {**reply, "changed": True}


def _custody(file: Path, uuid: str) -> dict[str, Any] | None:
    """The record that the ceremony left on this controller; None where the controller was lost as well."""
    try:
        record = json.loads(file.read_bytes())
        custody = {key: record[key] for key in _RECORDED}
        expected(uuid, custody)
        of = record["cluster_uuid"]
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise ControllerError(
            f"{file} is not the record of a ceremony: {type(error).__name__}",
            not_done="nothing was made",
            next_step="bring it back from its copy, or move it away: the store says what is needed of it",
        ) from None
    if of != uuid:
        raise ControllerError(
            f"{file} is the record of cluster {of}, not of {uuid}",
            not_done="nothing was made",
            next_step="use that cluster's own controller directory",
        )
    return custody


def _of_the_store(node: Node, options: dict[str, Any]) -> Expected:
    """What the newest set says of the shares. Unproven: a root that it lies about signs for none of the sets."""
    sets = node.run(["rebuild", "info"])["sets"]
    row = next((row for row in sets if row["root_fingerprint"]), None)
    if row is None:
        raise ControllerError(
            "no set in the store says which shares belong to it",
            not_done="nothing was made",
            next_step=f"bring back {options['custody_file']} from its copy",
        )
    told = row["share_identifier"], row["share_threshold"], row["root_fingerprint"]
    if [type(value) for value in told] != [int, int, str]:
        raise ControllerError(
            f"the newest set, {row['set_id']}, does not say which shares belong to it in a way that can be used",
            not_done="nothing was made",
            next_step=f"bring back {options['custody_file']} from its copy; and look into the store",
        )
    return Expected(options["uuid"], *told, {})
