#!/usr/bin/python
"""Ansible module: the partitions of a Keyfold cluster."""

from __future__ import annotations

from typing import Any

from ansible.module_utils.basic import AnsibleModule
from ansible.module_utils.keyfold import (
    COMMAND_OPTION,
    KeyfoldCommandError,
    NodeCommand,
    conclude,
    diff,
    given,
)
from ansible.module_utils.keyfold_approval import APPROVAL_OPTION
from ansible.module_utils.keyfold_await import await_status, behind

DOCUMENTATION = r"""
module: keyfold_partition
short_description: Declare the partitions of a Keyfold cluster
description:
  - Creates partitions that do not exist yet and corrects those whose package, policy or backup differs from
    the declaration. All partitions of a call are planned together; if one declaration is wrong none is touched.
  - A partition that exists but is not declared is left alone.
  - A policy that becomes weaker, or a package that allows more mechanisms, needs the signed approval of the officers,
    what becomes stronger does not - see docs/policy.md. Without it no partition is touched.
  - Run it on one node of the cluster; every other node follows.
options:
  partitions:
    description: The declarations, one per partition.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description:
          - Name of the partition. It is also the label of its token and the CN of its client certificates.
          - 2 to 28 characters, a lower-case letter first, then letters, digits or C(-); C(system) is taken.
        type: str
        required: true
      package:
        description: Service package, one of those in the role variable C(node_packages).
        type: str
        required: true
      policy:
        description: What the partition allows. Keys that are left out have the cluster's default.
        type: dict
        suboptions:
          key_import:
            description: Whether keys may be imported.
            type: bool
          key_export:
            description: Whether keys created extractable may leave in plain.
            type: bool
          key_extract:
            description: Whether keys created extractable may leave wrapped.
            type: bool
          key_invalidation:
            description: Whether a destroyed object is kept as invalidated, to be reactivated or purged.
            type: bool
          read_only:
            description: Whether the partition's objects can only be used, not changed.
            type: bool
          session_objects:
            description: Whether session objects may be created.
            type: bool
          destroy_objects:
            description: Whether objects may be destroyed.
            type: bool
          use_objects:
            description: Whether keys may be used.
            type: bool
          client_api_access:
            description: Whether subscribers' applications may connect.
            type: bool
          max_size_bytes:
            description: Quota in bytes, invalidated objects included; at most the package's.
            type: int
          invalidation_days:
            description: Days after which an invalidated object expires; V(0) means never.
            type: int
          max_failures:
            description: Failed logins within O(partitions[].policy.window_seconds) that lock the login; 1 or more.
            type: int
          window_seconds:
            description: Seconds over which failed logins are counted; 1 or more.
            type: int
          lock_seconds:
            description: Seconds for which a login stays locked; 1 or more.
            type: int
      backup:
        description: Whether the partition is backed up, only for packages whose backup is per order.
        type: bool
      subscriber_key:
        description:
          - The subscriber's age recipient (C(age1…)) or SSH public key (C(ssh-ed25519) or C(ssh-rsa)); needed to create
            a partition.
          - The node draws the PINs of a new partition and seals the user PIN to this key, the SO PIN to the officers.
            Nobody else sees either; M(keyfold_handover) fetches what was sealed.
          - Another key for a partition that exists is recorded, and seals nothing again.
        type: str
  approvals:
    description:
      - Approvals of weaker policies, each as the lookup P(keyfold_approval#lookup) returns it, one per partition. The
        request is of kind C(policy), names the partition, and its field C(policy) has the weakened keys with their new
        values and no others, as C(weaker) of a check mode run shows them; a weaker package is its field C(package).
      - In check mode those that are given are looked at and not used up.
    type: list
    elements: dict
    default: []
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
  wait_seconds:
    description:
      - After a change, how long to wait until every live node has applied it; V(0) does not wait.
      - It is an error if a live node has not applied the change by then.
    type: int
    default: 60
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: The node plans and does not execute. On a host without Keyfold every partition is new.
  diff_mode:
    support: full
    description: Package, policy, backup and the subscriber's public key, before and after.
author: Keyfold
"""

EXAMPLES = r"""
- name: Declare two partitions
  keyfold_partition:
    partitions:
      - name: acme
        package: ECO
        subscriber_key: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      - name: globex
        package: PLATINUM
        backup: true
        policy:
          key_export: true
          key_extract: true
          max_size_bytes: 52428800
        subscriber_key: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINWQ4cIlNgYDvGXHcU6wKn2L5yTFOBMhFRVeHqpqpgz2 keys@globex
  run_once: true

- name: Correct the policy of a partition that exists
  keyfold_partition:
    partitions:
      - name: acme
        package: ECO
        policy:
          key_import: false
  run_once: true

- name: Let keys leave the partition, as the officers have approved
  keyfold_partition:
    partitions:
      - name: acme
        package: ECO
        policy:
          key_extract: true
    approvals: # as {{ query('keyfold_approval', 'acme-key-extract.yml') }} returns it
      - request: a2luZDogcG9saWN5CnBhcnRpdGlvbjogYWNtZQo=
        signatures:
          - "-----BEGIN SSH SIGNATURE-----…"
          - "-----BEGIN SSH SIGNATURE-----…"
  run_once: true
"""

RETURN = r"""
changes:
  description: What was done, or in check mode would be, per partition in the order declared.
  returned: success
  type: list
  elements: dict
  contains:
    name:
      description: The partition.
      type: str
      sample: acme
    action:
      description: V(create), V(update) or V(none).
      type: str
      sample: update
    before:
      description: Package, policy and backup as they were; empty for a new partition.
      type: dict
    after:
      description: Package, policy and backup as they are now.
      type: dict
    weaker:
      description: The keys of the policy that become weaker, and C(package) if that does, with their new values.
      type: dict
    needs_approval:
      description: Whether the officers have to approve this change.
      type: bool
code:
  description: Name of the error, see docs/interfaces.md.
  returned: failure
  type: str
  sample: invalid
exit_code:
  description: Exit code of the node's command.
  returned: failure
  type: int
  sample: 2
"""

_SWITCHES = (
    "key_import",
    "key_export",
    "key_extract",
    "key_invalidation",
    "read_only",
    "session_objects",
    "destroy_objects",
    "use_objects",
    "client_api_access",
)
_NUMBERS = ("max_size_bytes", "invalidation_days", "max_failures", "window_seconds", "lock_seconds")

ARGUMENT_SPEC: dict[str, Any] = {
    "partitions": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {
            "name": {"type": "str", "required": True},
            "package": {"type": "str", "required": True},
            "policy": {
                "type": "dict",
                "options": {key: {"type": "bool"} for key in _SWITCHES} | {key: {"type": "int"} for key in _NUMBERS},
            },
            "backup": {"type": "bool"},
            # A public key; "key" in its name would have Ansible warn.
            "subscriber_key": {"type": "str", "no_log": False},
        },
    },
    "approvals": {**APPROVAL_OPTION, "type": "list", "elements": "dict", "default": []},
    "wait_seconds": {"type": "int", "default": 60},
    "command": COMMAND_OPTION,
}


def declare(module: AnsibleModule, command: NodeCommand) -> dict[str, Any]:
    """Apply all declarations in one call and wait for the nodes; in check mode plan only."""
    declared = [{**given(row), "policy": given(row["policy"])} for row in module.params["partitions"]]
    check = ["--check"] if module.check_mode else []
    approvals = module.params["approvals"]
    try:
        reply = command.run(
            ["partition", "apply", *check],
            secrets={"partitions": declared, **({"approvals": approvals} if approvals else {})},
        )
    except KeyfoldCommandError as error:
        if not (module.check_mode and error.before_genesis):
            raise
        module.warn(f"{error.what}: check mode takes every partition to be new")
        reply = {"changes": [_as_new(row) for row in declared]}
    changes = reply["changes"]
    changed = [change for change in changes if change["action"] != "none"]
    if changed and not module.check_mode and module.params["wait_seconds"]:
        await_status(command, lambda status: behind(status, reply["revision"]), module.params["wait_seconds"])
    for change in changed:
        if module.check_mode and change["needs_approval"] and not approvals:
            what = ", ".join(f"{key}={value}" for key, value in change["weaker"].items())
            module.warn(f"{change['name']}: a weaker policy ({what}) needs officers' approval, see docs/policy.md")
    before, after = ({change["name"]: change[side] for change in changed} for side in ("before", "after"))
    return {"changed": bool(changed), "changes": changes, **diff(module, before, after)}


def _as_new(row: dict[str, Any]) -> dict[str, Any]:
    after = {key: row[key] for key in ("package", "policy", "backup", "subscriber_key") if key in row}
    return {
        "name": row["name"],
        "action": "create",
        "before": {},
        "after": after,
        "weaker": {},
        "needs_approval": False,
    }


def main() -> None:
    module = AnsibleModule(argument_spec=ARGUMENT_SPEC, supports_check_mode=True)
    conclude(module, declare)


if __name__ == "__main__":
    main()
