"""Replies as text for a person."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from keyfold.subscriber.attributes import CLASS_NAMES

Reply = Mapping[str, Any]


def policy(reply: Reply) -> str:
    rows = [("policy", "")] + [(name, _word(value)) for name, value in reply["policy"].items()]
    choice = reply["choice"]
    kept = "kept" if reply["keeps_destroyed"] else "gone for good"
    by = "as the policy says" if choice is None else f"chosen by {choice['by']} at {choice['at']}"
    head = f"partition {reply['partition']}, package {reply['package']}, backup {_word(reply['backup'])}"
    return f"{head}\n{table(rows)}\ndestroyed objects are {kept}: {by}"


def quota(reply: Reply) -> str:
    return table(
        [
            ("", "objects", "bytes"),
            ("live", str(reply["objects"]), str(reply["live_bytes"])),
            ("invalidated", str(reply["invalidated"]), str(reply["invalidated_bytes"])),
            ("free", "", str(reply["free_bytes"])),
            ("quota", "", str(reply["max_size_bytes"])),
        ]
    )


def objects(reply: Reply) -> str:
    rows = [("class", "label", "id", "bytes", "since")]
    for row in reply["objects"]:
        label = "" if row["label"] is None else bytes.fromhex(row["label"]).decode("utf-8", "replace")
        since = row.get("invalidated_at") or row.get("created") or ""
        rows.append((CLASS_NAMES.get(row["class"], str(row["class"])), label, row["id"] or "", str(row["size"]), since))
    return table(rows)


def restore_points(reply: Reply) -> str:
    rows = [("set", "created", "state")]
    for row in reply["restore_points"]:
        state = "verified" if row["verified"] else "not verified"
        rows.append((row["set_id"], row["created"], state))
    return table(rows)


def handover(reply: Reply) -> str:
    return str(reply["user"]).rstrip()


def invalidation(reply: Reply) -> str:
    kept = "kept" if reply["keeps_destroyed"] else "gone for good"
    return f"destroyed objects are {kept}" + ("" if reply["changed"] else ", as before")


def done(reply: Reply) -> str:
    return f"the PIN of partition {reply['partition']} was changed"


def export(reply: Reply) -> str:
    lines = [f"{len(reply['exported'])} objects of partition {reply['partition']} are in {reply['file']}"]
    lines += [_named(row) for row in reply["exported"]]
    lines += [f"left out: {row['object']}: {row['reason']}" for row in reply["refused"]]
    return "\n".join(lines)


def import_(reply: Reply) -> str:
    lines = [f"{len(reply['imported'])} objects imported" if reply["changed"] else "nothing was imported"]
    unproven = ", not verified: it cannot prove itself"
    lines += [_named(row) + ("" if row.get("verified", True) else unproven) for row in reply["imported"]]
    lines += [f"there already: {_named(row)}" for row in reply["existing"]]
    return "\n".join(lines)


def table(rows: Sequence[tuple[str, ...]]) -> str:
    """Left-aligned columns; the first row is the heading."""
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows
    )


def _named(row: Mapping[str, Any]) -> str:
    return f"{row['class']} {row['label']!r} (ID {row['id'] or 'none'})"


def _word(value: object) -> str:
    return {True: "yes", False: "no"}.get(value, str(value)) if isinstance(value, bool) else str(value)
