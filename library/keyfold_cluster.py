#!/usr/bin/python
"""Ansible module: the genesis of a cluster."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, KeyfoldCommandError, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_cluster
short_description: Initialize a Keyfold cluster
description:
  - Genesis. Derives the cluster's own keys from its root, puts them into the system partition and writes the
    cluster's record to etcd. Where the cluster exists it is left as it is; another cluster's UUID is refused.
  - Run it on one node, whose agent waits for it.
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  uuid:
    description: UUID of the cluster, RFC 9562 text form.
    type: str
    required: true
  root:
    description: The cluster's root, 32 random bytes in hex. It is used and forgotten.
    type: str
    required: true
  command:
    description: The node's command.
    type: path
    default: /usr/bin/keyfold
attributes:
  check_mode:
    support: full
    description: Looks whether the cluster exists. On a host without Keyfold it does not.
  diff_mode:
    support: full
    description: Name and UUID of the new cluster.
author: Keyfold
"""

EXAMPLES = r"""
- name: Initialize the cluster
  keyfold_cluster:
    name: north
    uuid: "{{ genesis.cluster_uuid }}"
    root: "{{ genesis.root }}"
  run_once: true
"""

RETURN = r"""
cluster:
  description: The cluster's record - UUID, name, public keys and fingerprints; before genesis name and UUID only.
  returned: success
  type: dict
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: conflict
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 4
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "root": {"type": "str", "required": True, "no_log": True},
    "command": COMMAND_OPTION,
}


def initialize(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Initialize the cluster unless it exists; in check mode say whether it does."""
    identity = {key: module.params[key] for key in ("name", "uuid")}
    if module.check_mode:
        cluster = _existing(command)
        changed = cluster is None
    else:
        reply = command.run(["cluster", "init"], secrets={**identity, "root": module.params["root"]})
        cluster, changed = reply["cluster"], reply["changed"]
    return {
        "changed": changed,
        "cluster": cluster or identity,
        **diff(module, {} if changed else identity, identity),
    }


def _existing(command: NodeCommand) -> dict[str, Any] | None:
    try:
        cluster: dict[str, Any] = command.run(["cluster", "info"])["cluster"]
    except KeyfoldCommandError as error:
        if error.before_genesis:
            return None
        raise
    return cluster


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, initialize)


if __name__ == "__main__":
    main()
