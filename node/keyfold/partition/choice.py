"""What a subscriber has chosen for their own partition: it stands beside the declared policy, and wins over it.

Whether destroyed objects are kept is the subscriber's own right. The choice is a field of the partition's row that
no declaration touches, so applying the inventory again neither undoes it nor shows it as drift.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIELD = "subscriber_choice"


def keeps_destroyed(row: Mapping[str, Any]) -> bool:
    """Whether a destroyed object of this partition (a row of etcd) becomes invalidated."""
    choice = row.get(FIELD)
    return bool(row["policy"]["key_invalidation"] if choice is None else choice["key_invalidation"])


def chosen(row: Mapping[str, Any], *, key_invalidation: bool, at: str, by: str) -> dict[str, Any] | None:
    """The row with the choice in it; None if what is in force is that already."""
    if keeps_destroyed(row) == key_invalidation:
        return None
    return {**row, FIELD: {"key_invalidation": key_invalidation, "at": at, "by": by}}
