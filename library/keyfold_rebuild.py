#!/usr/bin/python
"""Ansible module: rebuild a lost cluster. It runs on the controller: action_plugins/keyfold_rebuild.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_rebuild
short_description: Bring a lost Keyfold cluster back from its store
description:
  - Puts the root together out of the custodians' shares, in the memory of this process, and has a node of the backup
    site rebuild the cluster from the store with it, as the same cluster.
  - Nothing is made unless the shares are this cluster's, the store's sets are signed by it and every archive is as its
    manifest says. A living cluster is refused. What was interrupted goes on when it is run again.
options:
  uuid:
    description: UUID of the lost cluster; it is on every share sheet and the first folder in the store.
    type: str
    required: true
  set:
    description: ID of the set to rebuild from, or C(latest).
    type: str
    default: latest
  custody_file:
    description: The ceremony's C(custody.json). Where it is lost, what the store's newest set says is used.
    type: path
    required: true
extends_documentation_fragment: [keyfold, keyfold.shares]
attributes:
  check_mode:
    support: full
    description: Checks the shares, the store's signatures and the bytes of every archive; makes nothing.
  diff_mode:
    support: none
    description: There is no state before.
author: Keyfold
"""

EXAMPLES = r"""
- name: Rebuild
  keyfold_rebuild:
    uuid: 5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11
    share_files: [/root/shares/alice, /root/shares/bob, /root/shares/carol]
    custody_file: /srv/keyfold/north/custody/custody.json
"""

RETURN = r"""
set_id:
  description: The set it was rebuilt from.
  returned: success
  type: str
created:
  description: When that set was made.
  returned: success
  type: str
partitions:
  description: Name, number of live objects and set of each partition.
  returned: success
  type: list
  elements: dict
without_backup:
  description: Partitions that no set has, so that they did not come back.
  returned: when not in check mode
  type: list
  elements: str
invalidated:
  description: How many invalidated objects came back.
  returned: when not in check mode
  type: int
entries:
  description: How many other keys of the cluster came back - invalidated objects, records, audit log, officers.
  returned: when not in check mode
  type: int
verified_sets:
  description: How many sets' signatures verified under the root's keys.
  returned: success
  type: int
"""
