#!/usr/bin/python
"""Ansible module: make or destroy an offline medium."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_media
short_description: Make or destroy an offline medium of a Keyfold cluster
description:
  - An offline medium is an exceptional backup on a USB device, for a vault. It has a key of its own, which the cluster
    destroys on day 170.
  - With O(state=present) a medium with this name is made on the device, unless one with the name lives already. The
    device is plugged into the node that the module runs on, which is in the backup site.
  - With O(state=absent) the medium's key is destroyed, on every node and in etcd's history, and the destruction is
    certified. What is on the device is not touched; nothing opens it any more.
options:
  state:
    description: V(present) makes the medium, V(absent) destroys its key.
    type: str
    choices: [present, absent]
    default: present
  name:
    description: Name of the medium; with O(state=absent) its ID will do.
    type: str
    required: true
  device:
    description:
      - The device, by its stable name below C(/dev/disk/by-id). Everything on it is lost.
      - Needed with O(state=present).
    type: str
  partitions:
    description: The partitions to put on it, whatever their packages. Needed with O(state=present).
    type: list
    elements: str
    default: []
  ticket:
    description: What it is done for; kept in the register.
    type: str
    required: true
  reason:
    description: Why, in words; kept in the register.
    type: str
    required: true
  overwrite:
    description: Whether partitions and file systems on the device may go.
    type: bool
    default: false
  allow_fixed:
    description: Whether a device may be taken that is not removable.
    type: bool
    default: false
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Looks at the device and at the register, and writes and destroys nothing.
  diff_mode:
    support: full
    description: The medium's state, and what is lost on the device.
author: Keyfold
"""

EXAMPLES = r"""
- name: Put a partition on a medium before maintenance
  keyfold_media:
    name: vault-2026-11
    device: /dev/disk/by-id/usb-Vendor_Stick_0123456789-0:0
    partitions: [acme]
    ticket: CHG-4711
    reason: the backup site moves house

- name: Destroy its key when the maintenance is over
  keyfold_media:
    state: absent
    name: vault-2026-11
    ticket: CHG-4711
    reason: the backup site has moved
"""

RETURN = r"""
medium:
  description: The register's row. In check mode of O(state=present) null.
  returned: success
  type: dict
plan:
  description: What would be, or was, done to the device; null where the medium lives, and with O(state=absent).
  returned: success
  type: dict
outstanding:
  description: Why the destruction is not certified yet; null if it is, and with O(state=present).
  returned: success
  type: str
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
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "name": {"type": "str", "required": True},
    "device": {"type": "str"},
    "partitions": {"type": "list", "elements": "str", "default": []},
    "ticket": {"type": "str", "required": True},
    "reason": {"type": "str", "required": True},
    "overwrite": {"type": "bool", "default": False},
    "allow_fixed": {"type": "bool", "default": False},
    "command": COMMAND_OPTION,
}


def act(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Make or destroy; check mode only looks."""
    params = module.params
    why = [
        f"--ticket={params['ticket']}",
        f"--reason={params['reason']}",
        *(["--dry-run"] if module.check_mode else []),
    ]
    act_on = _made if params["state"] == "present" else _destroyed
    return {"plan": None, "outstanding": None, **act_on(module, command, why)}


def _made(module: AnsibleModule, command: NodeCommand, why: list[str]) -> dict[str, Any]:
    params = module.params
    living = [row for row in command.run(["media", "list"])["media"] if row["destroyed"] is None]
    there = next((row for row in living if row["name"] == params["name"] and row["state"] == "active"), None)
    if there is not None:
        return {"changed": False, "medium": there}
    told = [flag for flag, value in (("--overwrite", "overwrite"), ("--allow-fixed", "allow_fixed")) if params[value]]
    only = [f"--partition={name}" for name in params["partitions"]]
    reply = command.run(["media", "write", params["name"], f"--device={params['device']}", *only, *told, *why])
    after = {"name": params["name"], "device": params["device"], "partitions": sorted(set(params["partitions"]))}
    shown = diff(module, {"on_the_device": reply["plan"]["lost"]}, after)
    return {"changed": True, "medium": reply["medium"], "plan": reply["plan"], **shown}


def _destroyed(module: AnsibleModule, command: NodeCommand, why: list[str]) -> dict[str, Any]:
    reply = command.run(["media", "destroy", module.params["name"], *why])
    shown = {"changed": reply["would_change"], "medium": reply["medium"], "outstanding": reply["outstanding"]}
    name = {"medium": reply["medium"]["id"], "key": "lives"}
    return {**shown, **diff(module, name, name | {"key": "destroyed"})} if reply["would_change"] else shown


def main() -> None:
    module = AnsibleModule(
        argument_spec=ARGUMENT_SPEC,
        supports_check_mode=True,
        required_if=[("state", "present", ("device", "partitions"))],
    )
    conclude(module, act)


if __name__ == "__main__":
    main()
