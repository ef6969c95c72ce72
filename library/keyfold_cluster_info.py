#!/usr/bin/python
"""Ansible module: read what the cluster says of itself."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, KeyfoldCommandError, NodeCommand, conclude
from ansible.module_utils.keyfold_await import await_status, behind, no_cluster

DOCUMENTATION = r"""
module: keyfold_cluster_info
short_description: Read the state of a Keyfold cluster
description:
  - Asks one node for the cluster, its nodes and sites, partitions and last backup; on request it first waits
    until a condition holds. It changes nothing.
options:
  wait_for:
    description:
      - What must hold. V(agent) - this node's agent answers; V(cluster) - and it has joined a cluster with a
        majority; V(applied) - and every live node has applied all changes there were when the wait began.
    type: str
    choices: [agent, cluster, applied]
    default: agent
  wait_seconds:
    description: How long to wait for the condition; V(0) asks once.
    type: int
    default: 0
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Reads only, and does not wait. A host without Keyfold answers an empty cluster.
  diff_mode:
    support: N/A
    description: Nothing is changed.
author: Keyfold
"""

EXAMPLES = r"""
- name: Read the cluster
  keyfold_cluster_info:
  register: cluster

- name: Wait until every live node has caught up
  keyfold_cluster_info:
    wait_for: applied
    wait_seconds: 60
"""

RETURN = r"""
cluster:
  description: UUID, name and public keys of the cluster; null before its genesis.
  returned: success
  type: dict
node:
  description: The node that answered; empty if Keyfold is not installed there (check mode only).
  returned: success
  type: str
  sample: hsm1
quorum:
  description: Whether etcd has a majority, so that changes are possible.
  returned: success
  type: bool
revision:
  description: etcd's revision.
  returned: success
  type: int
  sample: 1234
nodes:
  description: Every node with site, version, agent (V(up) or V(down)), applied revision, lag and conflicts.
  returned: success
  type: list
  elements: dict
partitions:
  description: Every partition with package, policy, objects and sizes.
  returned: success
  type: list
  elements: dict
last_backup:
  description: The newest backup set, restores' safety sets apart; null if there is none.
  returned: success
  type: dict
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: agent_down
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 6
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "wait_for": {"type": "str", "choices": ["agent", "cluster", "applied"], "default": "agent"},
    "wait_seconds": {"type": "int", "default": 0},
    "command": COMMAND_OPTION,
}

_RETURNED = ("cluster", "node", "quorum", "revision", "nodes", "partitions", "last_backup")
_NOT_INSTALLED: dict[str, Any] = {
    "cluster": None,
    "node": "",
    "quorum": False,
    "revision": 0,
    "nodes": [],
    "partitions": [],
    "last_backup": None,
}


def read(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """The cluster's status once the condition holds."""
    try:
        if module.check_mode:
            status = command.run(["status"])
        else:
            status = await_status(command, _condition(module.params["wait_for"]), module.params["wait_seconds"])
    except KeyfoldCommandError as error:
        if not (module.check_mode and error.missing):
            raise
        module.warn(f"{error.what}: check mode takes the cluster to be empty")
        status = _NOT_INSTALLED
    return {"changed": False, **{key: status[key] for key in _RETURNED}}


def _condition(name: str) -> Callable[[Mapping[str, Any]], str]:
    goal: int | None = None

    def applied(status: Mapping[str, Any]) -> str:
        # etcd's revision moves on while we wait: only what was there at the beginning is waited for.
        nonlocal goal
        goal = status["revision"] if goal is None else goal
        return str(behind(status, goal))

    unmet: dict[str, Callable[[Mapping[str, Any]], str]] = {
        "agent": lambda _status: "",
        "cluster": no_cluster,
        "applied": applied,
    }
    return unmet[name]


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, read)


if __name__ == "__main__":
    main()
