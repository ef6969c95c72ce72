"""What a restore in mode `merge` would do: bring back what is missing, never remove, never change. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from keyfold.backup.cluster import LiveObject, Partition
from keyfold.errors import KeyfoldError
from keyfold.restore.select import IndexedObject, Selection, select

MODE = "merge"


class Action(Enum):
    """ADD and REACTIVATE write; CHANGED (live, but not as in the backup) and UNTOUCHED (live and the same) do not."""

    ADD = "add"
    REACTIVATE = "reactivate"
    CHANGED = "changed"
    UNTOUCHED = "untouched"


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    object: IndexedObject


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """`create`: the partition is gone as a whole and comes back with its PIN as it was in the backup."""

    steps: tuple[Step, ...]
    create: bool

    @property
    def writes(self) -> dict[str, IndexedObject]:
        """What is to be written, by file."""
        writing = (Action.ADD, Action.REACTIVATE)
        return {step.object.file: step.object for step in self.steps if step.action in writing}

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(step.action for step in self.steps)
        return {action.value: found[action] for action in Action}


def plan(
    archived: Iterable[IndexedObject],
    selection: Selection,
    live: Mapping[str, LiveObject] | None,
    invalidated: Iterable[str],
) -> RestorePlan:
    """Steps in the archive's order. `live`: by file, None if the partition is gone; `invalidated`: files kept as such.

    KeyfoldError `not_found` if the selection names what the archive does not have.
    """
    items = list(archived)
    chosen = select(items, selection)
    if live is None:
        # Without its token object a partition cannot exist, whatever was asked for.
        files = {item.file for item in chosen}
        chosen = [item for item in items if item.file in files or item.object_class is None]
    kept = set(invalidated)
    steps = tuple(Step(_action(item, (live or {}).get(item.file), kept), item) for item in chosen)
    return RestorePlan(steps, create=live is None)


def _action(item: IndexedObject, live: LiveObject | None, invalidated: set[str]) -> Action:
    if live is not None:
        return Action.UNTOUCHED if live.digest == item.digest else Action.CHANGED
    return Action.REACTIVATE if item.file in invalidated else Action.ADD


def check_same_token(live: Partition, row: Mapping[str, Any]) -> None:
    """KeyfoldError `refused` if the partition lives on another token than the archived one (`row`: its declaration).

    SoftHSM encrypts private values under a key of the token: on another one they would be unreadable.
    """
    if (live.uuid, live.token_uuid) != (row["uuid"], row["token_uuid"]):
        raise KeyfoldError(
            "refused",
            f"the partition {live.name} was made anew since this backup: its keys cannot be read on the new token",
            not_done="nothing was written",
            next_step="choose a set made after the partition was created: keyfold backup list",
        )
