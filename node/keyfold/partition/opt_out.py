"""Opting out of key invalidation: from then on a destroy is final, and the record says who wanted that. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELD = "invalidation_opted_out"


def opting(before: Mapping[str, Any], row: Mapping[str, Any], who: str, when: str) -> tuple[dict[str, Any], str]:
    """The row with `{who, when}` of an opt-out, and a phrase for the audit ("" if nothing was decided).

    `before`: package, policy and backup as they were, empty for a new partition; `row`: as it is to be.
    """
    was_out = bool(before) and not before["policy"]["key_invalidation"]
    is_out = not row["policy"]["key_invalidation"]
    after = {key: value for key, value in row.items() if key != FIELD or is_out}
    if is_out == was_out:
        return after, ""
    if is_out:
        return {**after, FIELD: {"who": who, "when": when}}, "opt out of key invalidation"
    return after, "opt in to key invalidation"
