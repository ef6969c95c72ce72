# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""Ansible lookup: the files of a host, filled from the authority's directory on the controller."""

from __future__ import annotations

DOCUMENTATION = r"""
name: keyfold_pki_pem
short_description: Fill a list of files from the authority's directory
description:
  - Takes rows as the module M(keyfold_pki_files) wants them, but with C(sources) (paths below O(directory)) in place of
    C(pem), and puts what those files hold, one after the other, into C(pem).
  - If one of its sources does not exist yet, a row's C(pem) is empty.
options:
  _terms:
    description: The rows.
    type: list
    elements: dict
    required: true
  directory:
    description: The authority's directory.
    type: path
    required: true
author:
  - the Keyfold authors
"""

EXAMPLES = r"""
- name: Install etcd's key
  keyfold_pki_files:
    directory: /etc/etcd/pki
    files: "{{ query('keyfold_pki_pem', *rows, directory=pki_directory) }}"
  vars:
    rows:
      - {name: member.key, mode: "0640", group: etcd, sources: [issued/etcd-hsm1/current/tls.key]}
"""

RETURN = r"""
_raw:
  description: The rows, with C(pem) in place of C(sources).
  type: list
  elements: dict
"""

from pathlib import Path
from typing import Any

from ansible.plugins.lookup import LookupBase


class LookupModule(LookupBase):  # type: ignore[misc]
    """Reads each row's sources."""

    def run(self, terms: list[dict[str, Any]], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        self.set_options(var_options=variables, direct=kwargs)
        return [filled(row, Path(self.get_option("directory"))) for row in terms]


def filled(row: dict[str, Any], directory: Path) -> dict[str, Any]:
    """Return the row with its sources' text as `pem`."""
    paths = [directory / source for source in row["sources"]]
    there = all(path.exists() for path in paths)
    pem = "".join(path.read_text(encoding="ascii") for path in paths) if there else ""
    return {key: value for key, value in row.items() if key != "sources"} | {"pem": pem}
