#!/usr/bin/python
"""Ansible module: the logins of a partition."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_login
short_description: Lift the lock of a Keyfold partition's logins
description:
  - A login locks after too many failures (policy C(max_failures)). V(unlocked) lifts the lock and forgets the failures,
    on every node. Sessions that are logged in were never affected.
  - Run it on one node of the cluster. It is recorded.
options:
  partition:
    description: The partition.
    type: str
    required: true
  state:
    description: What the logins shall be.
    type: str
    choices: [unlocked]
    default: unlocked
  user:
    description: Only the user's login, or only the security officer's; both if left out.
    type: str
    choices: [user, so]
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Says for whom there are failures to forget.
  diff_mode:
    support: full
    description: Users with failed logins, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Let acme's application log in again
  keyfold_login:
    partition: acme
    user: user
"""

RETURN = r"""
unlocked:
  description: The users whose failures were forgotten, or in check mode would be.
  returned: success
  type: list
  elements: str
  sample: [user]
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: no_quorum
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 5
"""

ARGUMENT_SPEC: dict[str, Any] = {
    "partition": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["unlocked"], "default": "unlocked"},
    "user": {"type": "str", "choices": ["user", "so"]},
    "command": COMMAND_OPTION,
}


def unlock(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Forget the failures; in check mode say of whom."""
    user = [f"--user={module.params['user']}"] if module.params["user"] else []
    check = ["--dry-run"] if module.check_mode else []
    unlocked = command.run(["partition", "unlock", module.params["partition"], *user, *check])["unlocked"]
    before = dict.fromkeys(unlocked, "failed logins")
    return {"changed": bool(unlocked), "unlocked": unlocked, **diff(module, before, {})}


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, unlock)


if __name__ == "__main__":
    main()
