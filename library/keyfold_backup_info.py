#!/usr/bin/python
"""Ansible module: read which backup sets there are."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude

DOCUMENTATION = r"""
module: keyfold_backup_info
short_description: List the backup sets of a Keyfold cluster
description:
  - Lists the sets in the WebDAV store. It changes nothing.
  - Run it on a node of the backup site; only those reach the store.
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Reads only.
  diff_mode:
    support: N/A
    description: Nothing is changed.
author: Keyfold
"""

EXAMPLES = r"""
- name: List the backup sets
  keyfold_backup_info:
  register: backups

- name: Require that the newest set is verified
  ansible.builtin.assert:
    that: backups.sets[0].verified
"""

RETURN = r"""
sets:
  description: The sets, newest first.
  returned: success
  type: list
  elements: dict
  contains:
    set_id:
      description: ID of the set.
      type: str
    sequence:
      description: Number of the set in the chain of manifests.
      type: int
    created:
      description: When it was made, RFC 3339 in UTC.
      type: str
    partitions:
      description: Its partitions with objects, size and ciphertext SHA-256.
      type: list
      elements: dict
    verified:
      description: Whether its manifest is this cluster's and the archives are there.
      type: bool
    expires:
      description: When its retention ends, RFC 3339 in UTC; null where no time alone decides.
      type: str
    expiry:
      description: What the next expiry does with it - V(keep), V(expire) or V(hold).
      type: str
    expiry_reason:
      description: Why, in words.
      type: str
    problem:
      description: What is wrong with it; null if nothing is.
      type: str
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

ARGUMENT_SPEC: dict[str, Any] = {"command": COMMAND_OPTION}


def read(_module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """The sets as the node lists them."""
    return {"changed": False, "sets": command.run(["backup", "list"])["sets"]}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, read)


if __name__ == "__main__":
    main()
