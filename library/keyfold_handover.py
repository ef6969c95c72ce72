#!/usr/bin/python
"""Ansible module: fetch the sealed first PINs of partitions; action_plugins/keyfold_handover.py writes the files."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude

DOCUMENTATION = r"""
module: keyfold_handover
short_description: Keep the sealed first PINs of partitions on the controller, to be handed over
description:
  - The node that makes a partition draws its PINs and seals them with C(age), the user PIN to the subscriber's key, the
    SO PIN to every officer whose key age can seal to. What is sealed stays in the cluster.
  - Writes it on the controller, for those of O(partitions) that have no file there yet, as
    C(<directory>/<partition>.user.age) and C(<directory>/<partition>.so.age). Files that exist are left alone.
  - Neither the controller nor any log ever holds a PIN. The subscriber opens the file with C(age -d -i KEY).
options:
  partitions:
    description: Names of the partitions.
    type: list
    elements: str
    required: true
  directory:
    description: The directory on the controller. It is made with mode 0700.
    type: path
    required: true
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Says which partitions have no file yet.
  diff_mode:
    support: none
    description: What is written is sealed.
author: Keyfold
"""

EXAMPLES = r"""
- name: Keep what is to be handed over
  keyfold_handover:
    partitions: [acme, globex]
    directory: /srv/keyfold/north/handover
  run_once: true
"""

RETURN = r"""
written:
  description: Partitions whose files were written, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [acme]
without_so_pin:
  description:
    - Those of them whose SO PIN was sealed to nobody, because no officer with such a key was declared when they were
      made. Nobody has it, so nobody but the user can set a new user PIN for them.
  returned: success
  type: list
  elements: str
  sample: []
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
    "partitions": {"type": "list", "elements": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "command": COMMAND_OPTION,
}


def read(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """The node's half: what was sealed."""
    reply = command.run(["partition", "handover", *module.params["partitions"]])
    return {"changed": False, "handover": reply["handover"]}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, read)


if __name__ == "__main__":
    main()
