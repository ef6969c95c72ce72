"""The register of offline media: one row each, in etcd as `records/medium/<id>` (docs/interfaces.md §4). Pure.

Day 0 is the day, in UTC, on which the medium's key is made. As day 170 begins the key is destroyed: the last daily
backup that has a copy of it goes ten days later, so by day 180 nothing opens the medium.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from keyfold.backup.manifest import DAILY
from keyfold.errors import KeyfoldError
from keyfold.expiry.plan import RETENTION

RECORD_KIND = "medium"
DEAD_AFTER = timedelta(days=180)
DESTROY_AFTER = DEAD_AFTER - RETENTION[DAILY]
WARN_BEFORE = timedelta(days=20)

WRITING, ACTIVE, DESTROYED = "writing", "active", "destroyed"
# Why a key was destroyed.
DUE, ASKED, FAILED, ABANDONED = "due", "asked", "failed", "abandoned"
REASONS = (DUE, ASKED, FAILED, ABANDONED)

_ID = re.compile(r"\d{8}-[0-9a-f]{8}")
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")


@dataclass(frozen=True, slots=True)
class Destroyed:
    """`at`: RFC 3339; `because`: one of REASONS; `by`: who; `ticket`, `reason`: theirs, "" where nobody asked."""

    at: str
    because: str
    by: str
    ticket: str = ""
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Medium:
    """`device`: its path below /dev/disk/by-id; `files`: of the key in the system partition; times are RFC 3339, UTC.

    `forgotten`: every node has been told to leave no trace of the key's files. `certificate`: of the destruction, ""
    until every node has followed and etcd's history is compacted.
    """

    id: str
    name: str
    device: str
    partitions: tuple[str, ...]
    ticket: str
    reason: str
    by: str
    node: str
    created: str
    due: str
    recipient: str
    key_fingerprint: str
    files: tuple[str, ...]
    state: str = WRITING
    set_id: str = ""
    manifest_sha256: str = ""
    destroyed: Destroyed | None = None
    forgotten: bool = False
    certificate: str = ""

    @property
    def lives(self) -> bool:
        """Whether its key does."""
        return self.state != DESTROYED

    def as_row(self) -> dict[str, Any]:
        return asdict(self)

    def left(self, now: datetime) -> timedelta:
        """Until its key is destroyed; negative if that is overdue."""
        return datetime.fromisoformat(self.due) - now


def due_of(created: datetime) -> datetime:
    """When a key made at `created` is destroyed: before that day's backup is made, whatever the hour it was made at."""
    return _midnight(created) + DESTROY_AFTER


def dead_by(created: datetime) -> datetime:
    """The day by which no copy is left."""
    return _midnight(created) + DEAD_AFTER


def _midnight(moment: datetime) -> datetime:
    return moment.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)


def of_row(row: Mapping[str, Any]) -> Medium:
    destroyed = row["destroyed"]
    lists = {name: tuple(row[name]) for name in ("partitions", "files")}
    return Medium(**{**row, **lists, "destroyed": None if destroyed is None else Destroyed(**destroyed)})


def of_rows(rows: Mapping[str, Mapping[str, Any]]) -> list[Medium]:
    """The register, oldest first."""
    return sorted((of_row(row) for row in rows.values()), key=lambda one: (one.created, one.id))


def find(media: Iterable[Medium], wanted: str) -> Medium:
    """The medium with this ID, or the newest with this name. KeyfoldError `not_found` names those there are."""
    known = list(media)
    named = [one for one in known if wanted in (one.id, one.name)]
    if not named:
        raise unknown(wanted, known)
    return named[-1]


def unknown(wanted: str, known: Iterable[Medium]) -> KeyfoldError:
    return KeyfoldError(
        "not_found",
        f"there is no medium {wanted} in the register (there are: {', '.join(one.id for one in known) or 'none'})",
        not_done="nothing was read or changed",
        next_step="keyfold media list",
    )


def check_new(name: str, device: str, media: Iterable[Medium]) -> None:
    """KeyfoldError `invalid` or `conflict` unless a medium of this name can be made on this device."""
    if not _NAME.fullmatch(name):
        raise KeyfoldError(
            "invalid",
            f"{name!r} is not a name for a medium",
            not_done="nothing was made",
            next_step="use up to 64 of a-z, 0-9, '.', '_' and '-', beginning with a letter or digit",
        )
    for one in media:
        if one.lives and (name == one.name or device == one.device):
            what = f"is called {name} already" if name == one.name else f"is on {device} already"
            raise KeyfoldError(
                "conflict",
                f"the medium {one.id} {what}, and its key lives",
                not_done="nothing was made or overwritten",
                next_step=f"choose another, or destroy that one: keyfold media destroy {one.id}",
            )


def check_id(medium: str) -> str:
    """The ID itself; ValueError if it is none."""
    if not _ID.fullmatch(medium):
        raise ValueError(f"not the ID of a medium: {medium!r}")
    return medium
