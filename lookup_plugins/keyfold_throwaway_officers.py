"""Ansible lookup: officers whose keys the controller itself holds, for clusters that are thrown away."""

from __future__ import annotations

import fcntl
import subprocess
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: keyfold_throwaway_officers
short_description: Officers of a throw-away cluster
description:
  - Returns the officers it is given by name, each with an Ed25519 SSH key that is made at first use and kept without a
    passphrase in C(<directory>/<name>). For demonstrations and tests only - whoever has the controller has them all.
options:
  _terms:
    description: Names of the officers.
    required: true
  directory:
    description: Where the keys are kept.
    type: path
    required: true
"""

EXAMPLES = r"""
- name: Declare the officers of a throw-away cluster
  keyfold_officers:
    officers: "{{ query('keyfold_throwaway_officers', 'ada', 'grace', directory='officers') }}"
    required: 2
"""

RETURN = r"""
_raw:
  description: C(name) and C(key), as the module M(keyfold_officers) takes them.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, str]]:
        """Name and public key of each officer."""
        self.set_options(var_options=variables, direct=kwargs)
        directory = Path(self.get_option("directory"))
        try:
            directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            # Ansible asks for several hosts at the same time.
            with (directory / ".lock").open("w") as lock:
                fcntl.flock(lock, fcntl.LOCK_EX)
                return [{"name": name, "key": _public_key(directory / name)} for name in terms]
        except (OSError, subprocess.CalledProcessError) as error:
            raise AnsibleError(
                f"the officers' keys in {directory} cannot be made or read: {error}\n"
                "Not done: no officer was declared\nNext: apt-get install openssh-client; look at the directory"
            ) from error


def _public_key(path: Path) -> str:
    public = path.with_name(path.name + ".pub")
    if not public.exists():
        path.unlink(missing_ok=True)
        options = ["-q", "-t", "ed25519", "-N", "", "-C", path.name]
        subprocess.run(["ssh-keygen", *options, "-f", str(path)], check=True, stdin=subprocess.DEVNULL)
    return public.read_text(encoding="ascii").strip()
