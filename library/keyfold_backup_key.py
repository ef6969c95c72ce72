#!/usr/bin/python
"""Ansible module: rotate the backup keys. It runs on the controller: action_plugins/keyfold_backup_key.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_backup_key
short_description: Move a Keyfold cluster's backup keys to the next epoch
description:
  - Puts the root together out of the custodians' shares, in the memory of this process, and has the node derive the
    next epoch's backup key pair and manifest-signing key pair from it. Those before them stay readable.
  - Every share that is mistyped, another cluster's or given twice is named by its file; its words are never shown.
options:
  from_epoch:
    description: The epoch the keys are in now. If they have moved on meanwhile, nothing is done.
    type: int
    required: true
extends_documentation_fragment: [keyfold, keyfold.shares]
attributes:
  check_mode:
    support: full
    description: Puts the root together and compares it; makes no key.
  diff_mode:
    support: none
    description: The keys are secret.
author: Keyfold
"""

EXAMPLES = r"""
- name: Rotate
  keyfold_backup_key:
    share_files: [/root/shares/alice, /root/shares/bob, /root/shares/carol]
    from_epoch: 1
  run_once: true
"""

RETURN = r"""
cluster:
  description: The cluster's record - C(backup_epoch), C(backup_recipient), C(older_backup_keys) and the rest.
  returned: success
  type: dict
"""
