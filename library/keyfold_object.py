#!/usr/bin/python
"""Ansible module: destroyed objects of a partition, brought back or forgotten for good."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, NodeCommand, conclude, diff
from ansible.module_utils.keyfold_approval import APPROVAL_OPTION, with_approval

DOCUMENTATION = r"""
module: keyfold_object
short_description: Bring destroyed objects of a Keyfold partition back, or forget them for good
description:
  - An object that its owner destroyed stays in the cluster as invalidated. V(present) brings it back on every node,
    V(absent) removes it for good, from etcd's history too; after that only a backup has it.
  - All of what is chosen is done, or none of it. A live object is never changed.
  - It needs the officers' approval of kind C(reactivate) or C(purge), which names the partition and has the field
    C(files), as RV(files) shows it in check mode.
  - Run it on one node of the cluster; every other node follows. Running it again after an interruption is safe, and
    under the same approval as long as the files are named.
options:
  partition:
    description: The partition.
    type: str
    required: true
  state:
    description: V(present) reactivates, V(absent) purges.
    type: str
    choices: [present, absent]
    default: present
  files:
    description: Object files by name, as keyfold_object_info lists them.
    type: list
    elements: str
    default: []
  labels:
    description: Objects with one of these labels (CKA_LABEL), every class.
    type: list
    elements: str
    default: []
  ids:
    description: Objects with one of these IDs (CKA_ID), in hex, every class.
    type: list
    elements: str
    default: []
  with_public:
    description: Whether a private key brings its public half along; only for O(state=present).
    type: bool
    default: true
extends_documentation_fragment: [keyfold, keyfold.approval]
attributes:
  check_mode:
    support: full
    description: The node plans and does not execute; no approval is asked for.
  diff_mode:
    support: full
    description: The state of every object that changes, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: See what bringing a key back would do, and which files officers have to approve
  keyfold_object:
    partition: acme
    labels: [tls-2026]
  check_mode: true
  register: plan

- name: Bring it back
  keyfold_object:
    partition: acme
    files: "{{ plan.files }}"
    approval:
      request: "{{ signed.request }}"
      signatures: "{{ signed.signatures }}"
  vars:
    signed: "{{ lookup('keyfold_approval', 'approvals/tls-2026.yml') }}"

- name: Forget it for good
  keyfold_object:
    partition: acme
    state: absent
    files: "{{ plan.files }}"
    approval:
      request: "{{ signed.request }}"
      signatures: "{{ signed.signatures }}"
  vars:
    signed: "{{ lookup('keyfold_approval', 'approvals/forget-tls-2026.yml') }}"
"""

RETURN = r"""
plan:
  description: What was done, or in check mode would be, per object.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description: V(reactivate), V(purge), or V(untouched) - it was named and is as wanted already.
      type: str
    file:
      description: The object's file.
      type: str
    class:
      description: The object's class, the number of CKA_CLASS; not for V(untouched), nor are the following.
      type: int
    label:
      description: Its label in hex, null if the cluster knows none.
      type: str
    id:
      description: Its ID in hex, null if the cluster knows none.
      type: str
    size:
      description: Its size in bytes.
      type: int
    invalidated_at:
      description: When it was destroyed, RFC 3339.
      type: str
files:
  description: What officers approve - the files that change, and those that were named and are as wanted already.
  returned: success
  type: list
  elements: str
revision:
  description: etcd's revision after the change; null if nothing was changed.
  returned: success
  type: int
history:
  description:
    - After a purge, C(compacted), the revision up to which etcd's history is gone, and C(problems), by member, of those
      whose database still has freed pages; the agents go on trying. Null if nothing was due.
  returned: success
  type: dict
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
    "partition": {"type": "str", "required": True},
    "state": {"type": "str", "choices": ["present", "absent"], "default": "present"},
    "files": {"type": "list", "elements": "str", "default": []},
    "labels": {"type": "list", "elements": "str", "default": []},
    "ids": {"type": "list", "elements": "str", "default": []},
    "with_public": {"type": "bool", "default": True},
    "approval": APPROVAL_OPTION,
    "command": COMMAND_OPTION,
}

_VERBS = {"present": "reactivate", "absent": "purge"}
_AFTER = {"reactivate": "live", "purge": "gone"}


def act(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Carry out the plan, or in check mode show it."""
    params = module.params
    arguments = ["object", _VERBS[params["state"]], *_selection(params)]
    if module.check_mode:
        reply = command.run([*arguments, "--dry-run"])
    elif params["approval"]:
        reply = command.run([*arguments, "--approval=-"], with_approval({}, params["approval"]))
    else:
        reply = command.run(arguments)
    changes = [row for row in reply["plan"] if row["action"] in _AFTER]
    return {
        "changed": bool(changes),
        **{key: reply.get(key) for key in ("plan", "files", "revision", "history")},
        **diff(
            module,
            {_title(row): "invalidated" for row in changes},
            {_title(row): _AFTER[row["action"]] for row in changes},
        ),
    }


def _selection(params: Mapping[str, Any]) -> list[str]:
    # With '=' a value that begins with '-' stays a value.
    without = [] if params["with_public"] or params["state"] == "absent" else ["--without-public"]
    return [
        params["partition"],
        *(f"--file={name}" for name in params["files"]),
        *(f"--label={label}" for label in params["labels"]),
        *(f"--id={identifier}" for identifier in params["ids"]),
        *without,
    ]


def _title(row: Mapping[str, Any]) -> str:
    label = bytes.fromhex(row["label"]).decode("utf-8", "replace") if row["label"] else "(no label)"
    return f"class {row['class']} {label} {row['file']}"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, act)


if __name__ == "__main__":
    main()
