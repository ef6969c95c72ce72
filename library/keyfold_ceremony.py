#!/usr/bin/python
"""Ansible module: the genesis ceremony. It runs on the controller: action_plugins/keyfold_ceremony.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_ceremony
short_description: Hold a Keyfold cluster's genesis ceremony
description:
  - Draws the cluster's root (32 random bytes), splits it into shares (SLIP-39, any O(threshold) of which give it back),
    seals each share to its custodian's age or SSH public key with the C(age) command, has one node derive the
    cluster's own keys from the root, and forgets it. Afterwards the root is nowhere but in the shares.
  - Where the cluster exists nothing is done. Shares whose root became no cluster, because a run was interrupted, are
    removed by the next run that succeeds.
  - It runs on the controller, once; the node it names needs its agent running. See docs/custody.md.
options:
  name:
    description: Name of the cluster.
    type: str
    required: true
  uuid:
    description: UUID of the cluster, RFC 9562 text form.
    type: str
    required: true
  directory:
    description: >-
      Where the sealed shares (C(share-1-of-5-NAME.age)) and C(custody.json), which is not secret, are kept on the
      controller. It appears with the cluster, whole.
    type: path
    required: true
  custodians:
    description: Who keeps the shares, in this order.
    type: list
    elements: dict
    required: true
    suboptions:
      name:
        description: Letters, digits, C(-) and C(_); part of the name of the share's file.
        type: str
        required: true
      recipient:
        description: The custodian's public key, C(age1…), C(ssh-ed25519 …) or C(ssh-rsa …).
        type: str
        required: true
  threshold:
    description: How many shares give the root back, at least 2.
    type: int
    required: true
extends_documentation_fragment: [keyfold]
attributes:
  check_mode:
    support: full
    description: Looks whether the cluster exists. On a host without Keyfold it does not. Draws nothing.
  diff_mode:
    support: none
    description: A ceremony has no state before.
author: Keyfold
"""

EXAMPLES = r"""
- name: Hold the ceremony
  keyfold_ceremony:
    name: north
    uuid: 5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11
    directory: /srv/keyfold/north/custody
    threshold: 2
    custodians:
      - name: alice
        recipient: age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p
      - name: bob
        recipient: ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJPa4ljdXrqBnM2YvcWFPJ4c0m2yDFHB1gZcJkzFYbNw
      - name: carol
        recipient: age1lggyhqrw2nlhcxprm67z43rta597azn8gknawjehu9d9dl0jq3yqqvfafg
  run_once: true
"""

RETURN = r"""
cluster:
  description: The cluster's record - UUID, name, public keys, fingerprints, custody; before genesis name and UUID only.
  returned: success
  type: dict
directory:
  description: Where the sealed shares are.
  returned: success
  type: str
"""
