#!/usr/bin/python
"""Ansible module: the officers of a Keyfold cluster."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, KeyfoldCommandError, NodeCommand, conclude, diff
from ansible.module_utils.keyfold_approval import APPROVAL_OPTION, with_approval

DOCUMENTATION = r"""
module: keyfold_officers
short_description: Declare who may approve dangerous things
description:
  - The officers are declared as a whole. The first declaration is free; every later change, towards stronger too, needs
    the signed approval of the officers there are - see docs/approvals.md. It is of kind C(officers) and has the fields
    C(officers) (by name, keys without comment) and C(required) as they shall be.
  - Run it on one node of the cluster; the declaration is in etcd.
options:
  officers:
    description: All officers, 1 to 32.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: The officer's name - a lower-case letter, then letters, digits, C(.), C(_) or C(-).
        type: str
        required: true
      key:
        description:
          - The officer's SSH public key, as the line of the C(.pub) file. Ed25519, ECDSA, RSA from 2048 bits, and
            hardware keys (C(sk-)). Each officer has another.
        type: str
        required: true
  required:
    description: How many of them approve together.
    type: int
    required: true
extends_documentation_fragment: [keyfold, keyfold.approval]
attributes:
  check_mode:
    support: full
    description: The node plans and does not execute; no approval is asked for. On a host without Keyfold all are new.
  diff_mode:
    support: full
    description: Names, keys and how many are required, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Declare the officers
  keyfold_officers:
    officers:
      - name: ada
        key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ada@laptop
      - name: grace
        key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC grace@laptop
    required: 2
  run_once: true
"""

RETURN = r"""
action:
  description: V(create), V(update) or V(none).
  returned: success
  type: str
  sample: none
before:
  description: C(officers) and C(required) as they were.
  returned: success
  type: dict
after:
  description: C(officers) and C(required) as they are now, or in check mode would be.
  returned: success
  type: dict
approved_by:
  description: The officers whose signatures approved the change.
  returned: success
  type: list
  elements: str
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: unapproved
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 13
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "officers": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "key": {"type": "str", "required": True}},
    },
    "required": {"type": "int", "required": True},
    "approval": APPROVAL_OPTION,
    "command": COMMAND_OPTION,
}

_RETURNED = ("action", "before", "after", "approved_by")


def declare(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Apply the declaration; in check mode plan only."""
    declared = {key: module.params[key] for key in ("officers", "required")}
    check = ["--check"] if module.check_mode else []
    try:
        reply = command.run(["officers", "apply", *check], with_approval(declared, module.params["approval"]))
    except KeyfoldCommandError as error:
        if not (module.check_mode and error.before_genesis):
            raise
        module.warn(f"{error.what}: check mode takes the officers to be new")
        reply = {"action": "create", "before": {}, "after": declared, "approved_by": []}
    return {
        "changed": reply["action"] != "none",
        **{key: reply[key] for key in _RETURNED},
        **diff(module, reply["before"], reply["after"]),
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, declare)


if __name__ == "__main__":
    main()
