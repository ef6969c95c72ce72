"""Documentation that several modules share: `extends_documentation_fragment: [keyfold, keyfold.approval, …]`."""

from __future__ import annotations


class ModuleDocFragment:
    """The name and these attributes' are Ansible's."""

    DOCUMENTATION = r"""
options:
  command:
    description: The node's command.
    type: path
    default: /usr/bin/keyfold
"""

    APPROVAL = r"""
options:
  approval:
    description:
      - The officers' approval, as the lookup P(keyfold_approval#lookup) returns it. Which kind the request has to be
        of, and which fields it needs, is said above.
      - Needed if anything is to be changed that needs one, except in check mode.
    type: dict
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
"""

    SHARES = r"""
options:
  share_files:
    description: Files on the controller with the shares - decrypted sheets, their words in order, or still sealed.
    type: list
    elements: path
    required: true
  identity_files:
    description: Private keys of custodians that open shares which are still sealed, as for C(age -i).
    type: list
    elements: path
    default: []
"""
