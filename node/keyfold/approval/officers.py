"""The officers: who may approve dangerous things, and how many of them it takes. Pure.

Declared once for free; every later change, towards stronger too, needs the officers' own approval.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from keyfold.approval.ssh_key import canonical_key
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

KIND = "officers"
MAX_OFFICERS = 32
# A principal in an allowed_signers file is a pattern: no '*', '?', '!', ',' or blank may get in.
_NAME = re.compile(r"[a-z][a-z0-9._-]{0,62}")
_ROW_KEYS = {"name", "key"}


@dataclass(frozen=True, slots=True)
class Officers:
    """`keys`: name → public key as `type base64`; any `required` of them together approve."""

    keys: Mapping[str, str]
    required: int

    def as_row(self) -> dict[str, Any]:
        """As it stands in etcd, in replies and in a request of kind `officers`: officers by name."""
        return {
            "officers": [{"name": name, "key": key} for name, key in sorted(self.keys.items())],
            "required": self.required,
        }

    def encode(self) -> bytes:
        return canonical(self.as_row())


NOBODY = Officers({}, 0)


@dataclass(frozen=True, slots=True)
class OfficersChange:
    """`action`: create, update or none. `needs_approval`: by the officers there are now."""

    action: str
    before: Officers
    after: Officers

    @property
    def needs_approval(self) -> bool:
        return self.action == "update"


def parse(declared: Mapping[str, Any]) -> Officers:
    """`{"officers": [{"name", "key"}], "required": M}`; KeyfoldError `invalid` names what is wrong with whom."""
    rows, required = declared.get("officers"), declared.get("required")
    if not isinstance(rows, list) or not all(isinstance(row, dict) for row in rows):
        raise _invalid("'officers' is not a list of {name, key}", "see docs/approvals.md")
    if not 1 <= len(rows) <= MAX_OFFICERS:
        raise _invalid(f"{len(rows)} officers are declared", f"declare 1 to {MAX_OFFICERS}")
    keys: dict[str, str] = {}
    for row in rows:
        _add(keys, row)
    if type(required) is not int or not 1 <= required <= len(keys):
        raise _invalid(
            f"'required' is {required!r}, with {len(keys)} officers", f"give a whole number from 1 to {len(keys)}"
        )
    return Officers(keys, required)


def decode(value: bytes | None) -> Officers:
    """What etcd holds; `NOBODY` if nothing was declared yet."""
    if value is None:
        return NOBODY
    row = json.loads(value)
    return Officers({officer["name"]: officer["key"] for officer in row["officers"]}, row["required"])


def plan(declared: Mapping[str, Any], current: Officers) -> OfficersChange:
    """How the declaration differs from the officers there are."""
    after = parse(declared)
    if current == NOBODY:
        return OfficersChange("create", current, after)
    return OfficersChange("none" if after == current else "update", current, after)


def _add(keys: dict[str, str], row: Mapping[str, Any]) -> None:
    name = row.get("name")
    if not isinstance(name, str) or _NAME.fullmatch(name) is None:
        raise _invalid(
            f"the officer's name {name!r} is not allowed",
            "use 1 to 63 characters: a lower-case letter, then letters, digits, '.', '_' or '-'",
        )
    if unknown := set(row) - _ROW_KEYS:
        raise _invalid(f"officer {name}: unknown key {min(unknown)!r}", "an officer has a name and a key")
    if name in keys:
        raise _invalid(f"the officer {name} is declared twice", "declare each officer once")
    try:
        key = canonical_key(row.get("key"))
    except ValueError as error:
        raise _invalid(f"officer {name}: {error}", "give the line of the officer's .pub file") from error
    holder = next((other for other, known in keys.items() if known == key), None)
    if holder is not None:
        raise _invalid(f"the officers {holder} and {name} have the same key", "each officer signs with an own key")
    keys[name] = key


def _invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError("invalid", what, not_done="the officers were not changed", next_step=next_step)
