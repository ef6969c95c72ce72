"""Ansible lookup: a request for approval and its signatures, as files on the controller."""

from __future__ import annotations

import base64
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

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


# As the node's own limits; what is larger is no request and no signature.
_REQUEST_BYTES = 256 * 1024
_SIGNATURE_BYTES = 16 * 1024


class ApprovalFileError(Exception):
    """A file of an approval cannot be read; the message names it."""


def read_approval(request: Path, extra: Sequence[Path] = ()) -> dict[str, Any]:
    """`{"request", "signatures"}` of the file and of every `<request>.sig` and `<request>.*.sig` beside it."""
    prefix = f"{request.name}."
    try:
        beside = sorted(path for path in request.parent.iterdir() if path.name.startswith(prefix))
    except OSError as error:
        raise ApprovalFileError(f"{request.parent} cannot be read: {error.strerror}") from error
    signatures = {path.resolve(): None for path in (*beside, *extra) if path in extra or path.name.endswith(".sig")}
    return {
        "request": base64.b64encode(_read(request, _REQUEST_BYTES)).decode(),
        "signatures": [_read(path, _SIGNATURE_BYTES).decode("ascii", "replace") for path in signatures],
    }


def _read(path: Path, limit: int) -> bytes:
    try:
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as error:
        raise ApprovalFileError(f"{path} cannot be read: {error.strerror}") from error
    if len(content) > limit:
        raise ApprovalFileError(f"{path} is longer than {limit} bytes")
    return content
