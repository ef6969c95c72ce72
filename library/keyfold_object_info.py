#!/usr/bin/python
"""Ansible module: read which objects a partition has."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude

DOCUMENTATION = r"""
module: keyfold_object_info
short_description: List the objects of a Keyfold partition
description:
  - Lists live objects, or those that were destroyed and are kept as invalidated. It changes nothing, and no value of a
    key is in what it returns.
options:
  partition:
    description: The partition.
    type: str
    required: true
  invalidated:
    description: Whether to list invalidated objects in place of live ones.
    type: bool
    default: false
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
- name: List what was destroyed and is kept
  keyfold_object_info:
    partition: acme
    invalidated: true
  register: kept
"""

RETURN = r"""
objects:
  description: The objects.
  returned: success
  type: list
  elements: dict
  contains:
    file:
      description: The object's file.
      type: str
    class:
      description: Number of CKA_CLASS; null for the token's own object.
      type: int
    key_type:
      description: Number of CKA_KEY_TYPE, where there is one.
      type: int
    label:
      description: Label in hex, null if the cluster knows none.
      type: str
    id:
      description: ID in hex, null if the cluster knows none.
      type: str
    size:
      description: Size in bytes.
      type: int
    created:
      description: When it was made, RFC 3339.
      type: str
    invalidated_at:
      description: When it was destroyed, RFC 3339; only of invalidated objects.
      type: str
    expires_at:
      description: When it expires, RFC 3339, null for never; only of invalidated objects.
      type: str
    revision:
      description: etcd's revision of its last change.
      type: int
    digest:
      description: Identity of its content.
      type: str
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: not_found
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 3
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "partition": {"type": "str", "required": True},
    "invalidated": {"type": "bool", "default": False},
    "command": COMMAND_OPTION,
}


def read(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """The objects as the node lists them."""
    kept = ["--invalidated"] if module.params["invalidated"] else []
    reply = command.run(["object", "list", module.params["partition"], *kept])
    return {"changed": False, "objects": reply["objects"]}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, read)


if __name__ == "__main__":
    main()
