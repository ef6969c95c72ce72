"""A partition's figures as `status` and `partition list` show them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

FIGURE_TITLES = ("objects", "live bytes", "invalidated", "kept bytes", "of quota", "login")


def figures(row: Mapping[str, Any]) -> tuple[str, ...]:
    """One cell per title; live and invalidated bytes both count towards the quota."""
    counts = (str(row[key]) for key in ("objects", "live_bytes", "invalidated", "invalidated_bytes"))
    used, quota = row["live_bytes"] + row["invalidated_bytes"], row["policy"]["max_size_bytes"]
    share = f"{100 * used / quota:.0f} %" if quota else "-"
    locked = " and ".join(f"{user} locked until {until[:19]}Z" for user, until in sorted(row["locked"].items()))
    return (*counts, share, locked or "open")
