#!/usr/bin/python
"""Ansible module: restore a partition, or some of its keys, from a backup set."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import COMMAND_OPTION, KeyfoldCommandError, NodeCommand, conclude, diff

DOCUMENTATION = r"""
module: keyfold_restore
short_description: Restore a partition of a Keyfold cluster, or some of its keys
description:
  - Brings back what a backup set has and the partition has not (mode C(merge)). What is live is never removed or
    overwritten; an object that is live with another content is reported as V(changed) and left alone.
  - Without O(labels), O(ids) and O(object_class) the whole partition is restored.
  - Run it on a node of the backup site; only those reach the store. Every other node follows.
  - Running it again after an interruption is safe.
options:
  partition:
    description: The partition; it may itself be gone.
    type: str
    required: true
  set:
    description: ID of the backup set, or V(latest).
    type: str
    default: latest
  labels:
    description: Only objects with one of these labels (CKA_LABEL).
    type: list
    elements: str
    default: []
  ids:
    description: Only objects with one of these IDs (CKA_ID), in hex.
    type: list
    elements: str
    default: []
  object_class:
    description: Only objects of this class.
    type: str
    choices: [private, public, secret, certificate, data]
  ticket:
    description: The request this restore is done for; it is recorded. Needed except in check mode.
    type: str
  command:
    description: The node's command.
    type: path
    default: /usr/bin/keyfold
attributes:
  check_mode:
    support: full
    description: Previews. The plan is the one that would be executed.
  diff_mode:
    support: full
    description: The state of every object that is brought back, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Preview what the newest set would bring back
  keyfold_restore:
    partition: acme
  check_mode: true
  register: preview

- name: Restore exactly what was previewed
  keyfold_restore:
    partition: acme
    set: "{{ preview.set_id }}"
    ticket: REQ-4711

- name: Restore one private key
  keyfold_restore:
    partition: acme
    labels: [ca-2026]
    object_class: private
    ticket: REQ-4712
"""

RETURN = r"""
set_id:
  description: The set the plan was made from; O(set=latest) is resolved.
  returned: success
  type: str
mode:
  description: Always V(merge).
  returned: success
  type: str
plan:
  description: What was done, or in check mode would be, per object.
  returned: success
  type: list
  elements: dict
  contains:
    action:
      description:
        - V(add) - was missing; V(reactivate) - was invalidated; V(changed) - is live with another content and is
          left alone; V(untouched) - is live as in the set.
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
revision:
  description: etcd's revision after the restore; null in check mode.
  returned: success
  type: int
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
    "partition": {"type": "str", "required": True},
    "set": {"type": "str", "default": "latest"},
    "labels": {"type": "list", "elements": "str", "default": []},
    "ids": {"type": "list", "elements": "str", "default": []},
    "object_class": {"type": "str", "choices": ["private", "public", "secret", "certificate", "data"]},
    "ticket": {"type": "str"},
    "command": COMMAND_OPTION,
}

_RETURNED = ("set_id", "mode", "plan", "counts", "revision")
# What becomes live, by action, and what it was before.
_BEFORE = {"add": "missing", "reactivate": "invalidated"}


def restore(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Carry out the plan, or in check mode show it."""
    params = module.params
    if module.check_mode:
        reply = command.run(["restore", "preview", *_selection(params)])
    elif not params["ticket"]:
        raise KeyfoldCommandError(
            "a restore is done for a ticket, and none was given",
            not_done=f"nothing was restored to partition {params['partition']}",
            next_step="give the restore request's number as ticket, or preview in check mode",
            code="invalid",
            exit_code=2,
        )
    else:
        reply = command.run(["restore", "apply", *_selection(params), f"--ticket={params['ticket']}"])
    brought = [row for row in reply["plan"] if row["action"] in _BEFORE]
    return {
        "changed": bool(brought),
        **{key: reply[key] for key in _RETURNED},
        **diff(
            module,
            {_title(row): _BEFORE[row["action"]] for row in brought},
            {_title(row): "live" for row in brought},
        ),
    }


def _selection(params: Mapping[str, Any]) -> list[str]:
    # With '=' a value that begins with '-' stays a value.
    return [
        f"--partition={params['partition']}",
        f"--set={params['set']}",
        *(f"--label={label}" for label in params["labels"]),
        *(f"--id={identifier}" for identifier in params["ids"]),
        *([f"--class={params['object_class']}"] if params["object_class"] else []),
    ]


def _title(row: Mapping[str, Any]) -> str:
    return f"{row['class']} {row['label'] or '(no label)'} {row['file']}"


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, restore)


if __name__ == "__main__":
    main()
