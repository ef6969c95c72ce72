#!/usr/bin/python
"""Ansible module: the sealed genesis file. It runs on the controller: action_plugins/keyfold_genesis.py."""

from __future__ import annotations

DOCUMENTATION = r"""
module: keyfold_genesis
short_description: Make a Keyfold cluster's sealed genesis file, once
description:
  - Draws the cluster's UUID and the system partition's PIN (32 random bytes) and seals them with ansible-vault. A file
    that exists is never overwritten; one that cannot be opened, or holds something else, is an error.
  - It does not hold the root, which the ceremony (M(keyfold_ceremony)) makes and forgets. With the PIN alone nothing
    can be read; with the PIN and a node's files the cluster's own keys can be used.
  - It runs on the controller, whatever host the task names. The lookup C(keyfold_genesis) reads the file.
options:
  path:
    description: Where the file is, or is to be. Missing directories are made with mode 0700.
    type: path
    required: true
  password_file:
    description: File with the vault password, or a program that prints it, as for C(--vault-password-file).
    type: path
    required: true
  cluster_uuid:
    description: The UUID where it is given, for a cluster that is rebuilt. A file with another one is an error.
    type: str
attributes:
  check_mode:
    support: full
    description: Opens a file that exists; makes none.
  diff_mode:
    support: none
    description: What is in the file is secret.
author: Keyfold
"""

EXAMPLES = r"""
- name: Make the genesis file
  keyfold_genesis:
    path: /srv/keyfold/north/genesis.vault
    password_file: ~/.keyfold-vault-password
  run_once: true
  register: genesis
"""

RETURN = r"""
path:
  description: The file.
  returned: success
  type: str
cluster_uuid:
  description: The cluster's UUID; null in check mode while there is no file.
  returned: success
  type: str
  sample: 5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11
"""
