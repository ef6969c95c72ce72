#!/usr/bin/python
"""Ansible module: run a backup now."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_backup
short_description: Run a backup of a Keyfold cluster now
description:
  - Reads the partitions at one point in time, seals each, uploads them to the WebDAV store, reads them back and
    publishes the set with its signed manifest. Until then the set does not exist.
  - Run it on a node of the backup site; only those reach the store.
  - Every run makes a new set, so it always reports a change.
options:
  state:
    description: V(run) makes a new set.
    type: str
    choices: [run]
    default: run
  partitions:
    description: Only these partitions; if empty all whose package or order says so.
    type: list
    elements: str
    default: []
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Goes through the run without storing anything, and returns what the set would hold.
  diff_mode:
    support: full
    description: The partitions of the set with their objects.
author: Keyfold
"""

EXAMPLES = r"""
- name: Back up everything now
  keyfold_backup:
  register: backup

- name: Back up one partition before maintenance
  keyfold_backup:
    state: run
    partitions: [acme]
"""

RETURN = r"""
set:
  description:
    - The set that was made - its ID, sequence, time, etcd revision, partitions with objects, size and ciphertext
      SHA-256, whether it was verified and where the HSM's files differ from etcd.
    - In check mode it has neither ID nor sequence.
  returned: success
  type: dict
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: store_error
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 7
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "state": {"type": "str", "choices": ["run"], "default": "run"},
    "partitions": {"type": "list", "elements": "str", "default": []},
    "command": COMMAND_OPTION,
}


def run(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Make one set, or in check mode describe it."""
    only = [f"--partition={name}" for name in module.params["partitions"]]
    dry = ["--dry-run"] if module.check_mode else []
    made = command.run(["backup", "run", *only, *dry])["set"]
    objects = {row["name"]: row["objects"] for row in made["partitions"]}
    return {"changed": True, "set": made, **diff(module, {}, objects)}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, run)


if __name__ == "__main__":
    main()
