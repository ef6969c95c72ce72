#!/usr/bin/python
"""Ansible module: hold a drill now, or make what drills need."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, KeyfoldCommandError, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_drill
short_description: Restore the newest backup set of a Keyfold cluster as a test
description:
  - A drill restores the newest set into a scratch SoftHSM, compares counts and hashes with manifest and archives, lets
    the restored canary key sign, and keeps signed evidence of what it found. Nothing of the cluster is changed.
  - Run it on a node of the backup site; only those reach the store.
options:
  state:
    description:
      - V(prepared) makes the cluster's canary, a partition whose restored key drills sign with, unless it is there.
      - V(run) holds a drill, so it always reports a change. It fails where the drill does not pass.
    type: str
    choices: [prepared, run]
    default: run
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Says whether the canary would be made; holds no drill.
  diff_mode:
    support: full
    description: The canary, where it is made.
author: Keyfold
"""

EXAMPLES = r"""
- name: Make the canary
  keyfold_drill:
    state: prepared

- name: Hold a drill
  keyfold_drill:
  register: drill
"""

RETURN = r"""
drill:
  description:
    - The evidence - ID, set, seconds, what became of each partition, what the canary signed.
    - Not in check mode, and not with O(state=prepared).
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
    "state": {"type": "str", "choices": ["prepared", "run"], "default": "run"},
    "command": COMMAND_OPTION,
}


def act(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Prepare or run; check mode does neither."""
    if module.params["state"] == "prepared":
        changed = _prepare(module, command)
        return {"changed": changed, **(diff(module, {}, {"canary": "keyfold-canary"}) if changed else {})}
    if module.check_mode:
        return {"changed": True}
    return {"changed": True, "drill": command.run(["drill", "run"])["drill"]}


def _prepare(module: AnsibleModule, command: NodeCommand) -> bool:
    dry = ["--dry-run"] if module.check_mode else []
    try:
        return bool(command.run(["drill", "prepare", *dry])["changed"])
    except KeyfoldCommandError as error:
        if module.check_mode and error.before_genesis:
            return True
        raise


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, act)


if __name__ == "__main__":
    main()
