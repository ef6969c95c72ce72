"""Ansible action: the next epoch of the backup keys, out of the custodians' shares.

Documentation: library/keyfold_backup_key.py. The root exists in this process only, and goes over standard input.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

# Ansible finds module_utils for what it sends to hosts, not for what runs here.
sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
from keyfold_controller import SHARE_OPTIONS, ControllerError, Node, NodeAction, entered, recovered
from keyfold_shares import expected

ARGUMENT_SPEC: dict[str, Any] = {
    **SHARE_OPTIONS,
    "from_epoch": {"type": "int", "required": True},
    "command": {"type": "path", "default": "/usr/bin/keyfold"},
}


class ActionModule(NodeAction):
    argument_spec = ARGUMENT_SPEC

    def act(self, node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """Check the shares; rotate unless it is check mode."""
        return _rotate(node, options, check=check)


def _rotate(node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    cluster = node.run(["cluster", "info"])["cluster"]
    custody = cluster.get("custody")
    if custody is None:
        raise ControllerError(
            "this cluster was founded without a ceremony: there are no shares of its root",
            not_done="no key was made",
            next_step="only a cluster founded by playbooks/genesis.yml rotates its backup keys",
        )
    shares = entered(options["share_files"], options["identity_files"])
    root = recovered(shares, expected(cluster["uuid"], custody), "no key was made")
    if not check:
        secrets = {"root": root.hex(), "from_epoch": options["from_epoch"]}
        cluster = node.run(["backup-key", "rotate"], secrets=secrets)["cluster"]
    return {"changed": True, "cluster": cluster}
