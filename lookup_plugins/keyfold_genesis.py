"""Ansible lookup: read the operator's sealed genesis file."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any
from uuid import UUID

from ansible.errors import AnsibleError
from ansible.parsing.vault import VaultLib, get_file_vault_secret
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: keyfold_genesis
short_description: Read a Keyfold cluster's sealed genesis file
description:
  - Opens the file that the module M(keyfold_genesis) made. What it returns is secret; give it only to options and
    tasks that have C(no_log).
options:
  _terms:
    description: Path of one sealed file on the controller.
    required: true
  password_file:
    description: File with the vault password that seals it, or a program that prints the password.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Install the system partition's PIN
  ansible.builtin.copy:
    content: "{{ lookup('keyfold_genesis', '/srv/keyfold/genesis.vault', password_file='~/.vault').system_pin }}"
    dest: /etc/keyfold/credentials/system.pin
    mode: "0600"
  no_log: true
"""

RETURN = r"""
_raw:
  description: C(cluster_uuid), and C(system_pin), 32 bytes in hex.
  type: list
  elements: dict
"""

_SECRETS = ("system_pin",)
_HEX_32_BYTES = re.compile(r"[0-9a-f]{64}")


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """The opened files, one per term."""
        self.set_options(var_options=variables, direct=kwargs)
        return [self._open(Path(term), self.get_option("password_file")) for term in terms]

    def _open(self, path: Path, password_file: str) -> dict[str, str]:
        try:
            secret = get_file_vault_secret(password_file, loader=self._loader)
            secret.load()
            # What is not sealed with ansible-vault is refused by decrypt.
            return _checked(json.loads(VaultLib([(None, secret)]).decrypt(path.read_bytes())))
        except (OSError, ValueError, AnsibleError) as error:
            # Without "from error": a parser's exception may quote the opened text.
            raise AnsibleError(
                f"the genesis file {path} cannot be used: {_reason(error)}\n"
                "Not done: no secret of the cluster was read, and the file was left as it is\n"
                f"Next: give the password file that sealed it ({password_file} does not open it, or the file is "
                "another's), or bring the file back from its copy; a running cluster needs the one it was made with"
            ) from None


def _checked(genesis: Any) -> dict[str, str]:
    if not isinstance(genesis, dict) or set(genesis) != {"cluster_uuid", *_SECRETS}:
        raise ValueError("it holds something else than a cluster's genesis")
    if any(_HEX_32_BYTES.fullmatch(str(genesis[key])) is None for key in _SECRETS):
        raise ValueError("a secret in it is not 32 bytes in hex")
    return {**genesis, "cluster_uuid": str(UUID(genesis["cluster_uuid"]))}


def _reason(error: Exception) -> str:
    if isinstance(error, json.JSONDecodeError):
        return "it holds something else than a cluster's genesis"
    if isinstance(error, OSError):
        return str(error.strerror)
    return str(error)
