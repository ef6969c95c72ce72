"""Ansible lookup: a request for approval and its signatures, as files on the controller."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

# Ansible finds module_utils for what it sends to hosts, not for what runs here.
sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
from keyfold_approval import ApprovalFileError, read_approval

DOCUMENTATION = r"""
name: keyfold_approval
short_description: Read a request that officers have signed
description:
  - Reads the request file, byte for byte, and every signature beside it - C(<request>.sig),
    C(<request>.<officer>.sig).
  - Give what it returns to the option C(approval) of a module; the node decides whether the signatures suffice.
options:
  _terms:
    description: Path of one request file on the controller.
    required: true
  signatures:
    description: Further signature files that lie elsewhere.
    type: list
    elements: path
    default: []
"""

EXAMPLES = r"""
- name: Change the officers, with the approval of those there are
  keyfold_officers:
    officers: "{{ keyfold_officers }}"
    required: 2
    approval: "{{ lookup('keyfold_approval', 'approvals/new-officer.yml') }}"
  run_once: true
"""

RETURN = r"""
_raw:
  description: C(request), base64 of the file, and C(signatures), a list of armored signatures.
  type: list
  elements: dict
"""


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    def run(self, terms: list[str], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """One approval per term."""
        self.set_options(var_options=variables, direct=kwargs)
        extra = [Path(path) for path in self.get_option("signatures")]
        try:
            return [read_approval(Path(term).expanduser(), extra) for term in terms]
        except ApprovalFileError as error:
            raise AnsibleError(
                f"{error}\nNot done: nothing was approved or changed\n"
                "Next: give the request's file; officers put their .sig files beside it (docs/approvals.md)"
            ) from error
