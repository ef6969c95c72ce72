#!/usr/bin/python
"""Ansible module: carry out an approved restore."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude, diff
from ansible.module_utils.keyfold_approval import APPROVAL_OPTION, with_approval

DOCUMENTATION = r"""
module: keyfold_restore
short_description: Carry out an approved restore of a Keyfold cluster, a partition, or some of its keys
description:
  - Does what a request of kind C(restore) asks for, which officers have signed. What is restored, from which set and
    in which mode stands in the request and nowhere else; C(keyfold restore request) writes one.
  - Before anything that is live is changed or removed, its present state is kept as a backup set of its own.
  - Run it on a node of the backup site; only those reach the store. Every other node follows.
  - Running it again after an interruption goes on with it; after it has finished, nothing is changed.
options:
  approval:
    description:
      - The request and its signatures, as the lookup P(keyfold_approval#lookup) returns them. In check mode nobody has
        to have signed.
    type: dict
    required: true
    suboptions:
      request:
        description: Base64 of the request file.
        type: str
        required: true
      signatures:
        description: Armored SSH signatures.
        type: list
        elements: str
        required: true
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Previews. The plan is the one that would be executed.
  diff_mode:
    support: full
    description: The state of every object that is touched, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Preview what a request would do, before anybody signs it
  keyfold_restore:
    approval:
      request: "{{ asked.request }}"
      signatures: []
  vars:
    asked: "{{ lookup('keyfold_approval', 'approvals/req-4711.yml') }}"
  check_mode: true

- name: Carry it out
  keyfold_restore:
    approval:
      request: "{{ signed.request }}"
      signatures: "{{ signed.signatures }}"
  vars:
    signed: "{{ lookup('keyfold_approval', 'approvals/req-4711.yml') }}"
"""

RETURN = r"""
set_id:
  description: The backup set.
  returned: success
  type: str
partition:
  description: The partition; null for every partition of the set.
  returned: success
  type: str
mode:
  description: V(merge), V(replace) or V(side-by-side).
  returned: success
  type: str
plan:
  description: What was done, or in check mode would be, per object; empty if an earlier run had finished it.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(add) - was missing; V(reactivate) - was invalidated; V(change) - is live with another content and is put
          back; V(remove) - is live, not in the set, and becomes invalidated; V(differs) - is live with another content
          and is left alone; V(untouched) - is live as in the set.
      type: str
    partition:
      description: The partition.
      type: str
    file:
      description: The object's file.
      type: str
    class:
      description: The object's class.
      type: str
    label:
      description: Its label, where it can be read.
      type: str
    id:
      description: Its ID in hex, where it can be read.
      type: str
    size:
      description: Its size in bytes.
      type: int
counts:
  description: How many objects the plan has per action.
  returned: success
  type: dict
pins:
  description: By partition, V(kept), V(restored) (as at the time of the set) or V(created) (with the partition).
  returned: success
  type: dict
revision:
  description: etcd's revision after the restore; null in check mode, and if there was nothing to do.
  returned: success
  type: int
record:
  description:
    - The restore as the cluster has recorded it, with ticket, officers, counts, C(safety_set), C(chargeable), C(prices)
      and the state of every node; null in check mode, and if there was nothing to do.
  returned: success
  type: dict
report:
  description: The same for the subscriber, as text.
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
    "approval": {**APPROVAL_OPTION, "required": True},
    "command": COMMAND_OPTION,
}

_RETURNED = ("set_id", "partition", "mode", "plan", "counts", "pins", "revision", "record", "report")
# What is touched, by action: what it is before and after.
_STATES = {
    "add": ("missing", "live"),
    "reactivate": ("invalidated", "live"),
    "change": ("live, other content", "live"),
    "remove": ("live", "invalidated"),
}


def restore(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Carry out the request, or in check mode show its plan."""
    verb = "preview" if module.check_mode else "apply"
    reply = command.run(["restore", verb, "--request=-"], with_approval({}, module.params["approval"]))
    touched = {_title(row): _STATES[row["action"]] for row in reply["plan"] if row["action"] in _STATES}
    return {
        "changed": bool(touched) if module.check_mode else reply["changed"],
        **{key: reply[key] for key in _RETURNED},
        **diff(
            module,
            {title: before for title, (before, _) in touched.items()},
            {title: after for title, (_, after) in touched.items()},
        ),
    }


def _title(row: dict[str, Any]) -> str:
    return f"{row['class']} {row['label'] or '(no label)'} {row['file']}"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, restore)


if __name__ == "__main__":
    main()
