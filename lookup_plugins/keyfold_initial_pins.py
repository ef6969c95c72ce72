"""Ansible lookup: declarations of partitions with the initial PINs of those that are new."""

from __future__ import annotations

import json
import os
import re
import secrets
import string
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleError
from ansible.plugins.lookup import LookupBase

DOCUMENTATION = r"""
name: keyfold_initial_pins
short_description: Fill in the initial PINs of new partitions
description:
  - Returns the declarations it is given; those of partitions that are new and declare no PIN have their C(initial_pin)
    and C(initial_so_pin) filled in, drawn at random and kept on the controller as C(<directory>/<name>.json),
    readable by its owner only, to be handed to the subscriber. A file that exists is used again.
  - What it returns is secret; give it only to the option C(partitions) of the module M(keyfold_partition).
options:
  _terms:
    description: Declarations of partitions, see O(keyfold_partition#module:partitions).
    required: true
  existing:
    description: Names of the partitions that exist. Nothing is drawn for them - their owner has set other PINs.
    type: list
    elements: str
    required: true
  directory:
    description: Where the PINs are kept.
    type: path
    required: true
  keep:
    description: Whether to write new PINs to the directory; V(false) for check mode.
    type: bool
    default: true
"""

EXAMPLES = r"""
- name: Declare the partitions
  keyfold_partition:
    partitions: >-
      {{ query('keyfold_initial_pins', *declarations, existing=names, directory='pins', keep=not ansible_check_mode) }}
"""

RETURN = r"""
_raw:
  description: The declarations, in the same order.
  type: list
  elements: dict
"""

PIN_LENGTH = 16
_ALPHABET = string.ascii_letters + string.digits
_PINS = ("initial_pin", "initial_so_pin")
# Only a name that can be a partition's becomes a file's name; the node refuses the others.
_NAME = re.compile(r"[a-z][a-z0-9-]*")


class LookupModule(LookupBase):  # type: ignore[misc] # ansible-core has no types
    def run(self, terms: list[dict[str, Any]], variables: Any = None, **kwargs: Any) -> list[dict[str, Any]]:
        """The declarations, PINs filled in where they are needed."""
        self.set_options(var_options=variables, direct=kwargs)
        directory, keep = Path(self.get_option("directory")), self.get_option("keep")
        existing = set(self.get_option("existing"))
        return [
            {**_pins(directory, row["name"], keep=keep), **row} if _needs_pins(row, existing) else row for row in terms
        ]


def _needs_pins(row: Mapping[str, Any], existing: set[str]) -> bool:
    name = row.get("name")
    return (
        isinstance(name, str)
        and _NAME.fullmatch(name) is not None
        and name not in existing
        and not all(key in row for key in _PINS)
    )


def _pins(directory: Path, name: str, *, keep: bool) -> dict[str, str]:
    path = directory / f"{name}.json"
    try:
        kept = json.loads(path.read_text(encoding="ascii"))
        return {key: str(kept[key]) for key in _PINS}
    except FileNotFoundError:
        pins = {key: "".join(secrets.choice(_ALPHABET) for _ in range(PIN_LENGTH)) for key in _PINS}
    except (OSError, ValueError, KeyError, TypeError):
        # Without "from error": it may quote the file.
        raise AnsibleError(
            f"the initial PINs in {path} cannot be read\n"
            f"Not done: partition {name} was not created, nor any other of this run\n"
            f"Next: correct the file, or remove it so that new PINs are drawn"
        ) from None
    if keep:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        draft.touch(mode=0o600)
        draft.write_text(json.dumps({"partition": name, **pins}) + "\n", encoding="ascii")
        draft.rename(path)
    return pins
