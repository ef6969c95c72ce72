#!/usr/bin/python
"""Ansible module: the register of offline media, and whether one that is plugged in is good."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude

DOCUMENTATION = r"""
module: keyfold_media_info
short_description: List or verify offline media of a Keyfold cluster
description:
  - Returns the register. With O(verify), checks the medium that is plugged into this node - its signature, every
    archive's hash, and that every archive opens with the medium's key. Changes nothing.
options:
  verify:
    description: Name or ID of a medium to verify. It fails where the medium is damaged, another one, or destroyed.
    type: str
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Changes nothing in any mode.
  diff_mode:
    support: none
    description: Changes nothing.
author: Keyfold
"""

EXAMPLES = r"""
- name: Read the register
  keyfold_media_info:
  register: media

- name: Check the medium that is plugged in
  keyfold_media_info:
    verify: vault-2026-11
"""

RETURN = r"""
media:
  description: The register's rows, oldest first.
  returned: success
  type: list
  elements: dict
verified:
  description: Objects by partition of the medium that was verified; null without O(verify).
  returned: success
  type: dict
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: refused
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 8
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "verify": {"type": "str"},
    "command": COMMAND_OPTION,
}


def act(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Read, and verify if asked to."""
    wanted = module.params["verify"]
    verified = None if wanted is None else command.run(["media", "verify", wanted])["objects"]
    return {"changed": False, "media": command.run(["media", "list"])["media"], "verified": verified}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, act)


if __name__ == "__main__":
    main()
