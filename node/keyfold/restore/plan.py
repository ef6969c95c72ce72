"""What a restore would do to one partition, object by object. Pure.

`merge` brings back what is missing, and never removes or changes. `replace` makes the chosen objects exactly what they
were: what is live and not in the backup becomes invalidated. token.object, which holds the PINs, follows only when the
request says so, or when the partition comes back as a whole.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

from keyfold.backup.archive import TOKEN_OBJECT
from keyfold.backup.cluster import LiveObject, Partition
from keyfold.errors import KeyfoldError
from keyfold.restore.order import REPLACE, Order
from keyfold.restore.select import IndexedObject, select


class Action(Enum):
    """The first four write. DIFFERS: live, not as in the backup, and left alone; UNTOUCHED: live and the same."""

    ADD = "add"
    REACTIVATE = "reactivate"
    CHANGE = "change"
    REMOVE = "remove"
    DIFFERS = "differs"
    UNTOUCHED = "untouched"


_WRITING = (Action.ADD, Action.REACTIVATE, Action.CHANGE)


@dataclass(frozen=True, slots=True)
class Step:
    action: Action
    object: IndexedObject


@dataclass(frozen=True, slots=True)
class RestorePlan:
    """`create`: the partition is not there and comes with its PINs as they were. `growth`: bytes against its quota."""

    partition: str
    steps: tuple[Step, ...]
    create: bool
    growth: int = 0

    @property
    def writes(self) -> dict[str, IndexedObject]:
        """What comes out of the archive, by file."""
        return {step.object.file: step.object for step in self.steps if step.action in _WRITING}

    @property
    def outcome(self) -> dict[str, str]:
        """Digest by file of what is live as in the backup afterwards: also of what an interrupted run has written."""
        there = (*_WRITING, Action.UNTOUCHED)
        return {step.object.file: step.object.digest for step in self.steps if step.action in there}

    @property
    def removes(self) -> tuple[str, ...]:
        return tuple(step.object.file for step in self.steps if step.action is Action.REMOVE)

    @property
    def empty(self) -> bool:
        return not (self.writes or self.removes)

    @property
    def loses(self) -> bool:
        """Whether something live is changed or removed, so that its present state is worth keeping."""
        return any(step.action in (Action.CHANGE, Action.REMOVE) for step in self.steps)

    @property
    def counts(self) -> dict[str, int]:
        found = Counter(step.action for step in self.steps)
        return {action.value: found[action] for action in Action}

    @property
    def pin(self) -> str:
        """`kept`, `restored` (as at the time of the set) or `created` (with the partition)."""
        if self.create:
            return "created"
        return "restored" if TOKEN_OBJECT in self.writes else "kept"


@dataclass(frozen=True, slots=True)
class State:
    """A partition now. `live`, `invalidated`: by file; `purged`: files that were forgotten for good."""

    live: Mapping[str, LiveObject]
    invalidated: Mapping[str, LiveObject]
    purged: frozenset[str] = frozenset()


def plan(name: str, archived: Iterable[IndexedObject], order: Order, state: State | None) -> RestorePlan:
    """Steps in the archive's order, then what is removed. `state`: None if the partition is not there.

    KeyfoldError `not_found` if the selection names what the archive does not have.
    """
    items = list(archived)
    files = {item.file for item in select(items, order.selection)}
    if state is None or order.restore_pin:
        # Without its token object a partition cannot exist, whatever was asked for.
        files.add(TOKEN_OBJECT)
    now = state or State({}, {})
    steps = [Step(_action(item, order, now), item) for item in items if item.file in files]
    if order.mode == REPLACE:
        steps += [Step(Action.REMOVE, item) for item in _surplus({item.file for item in items}, order, now)]
    return RestorePlan(name, tuple(steps), state is None, sum(_growth(step, now) for step in steps))


def _action(item: IndexedObject, order: Order, now: State) -> Action:
    live = now.live.get(item.file)
    if live is None:
        return Action.REACTIVATE if item.file in now.invalidated else Action.ADD
    if live.digest == item.digest:
        return Action.UNTOUCHED
    put_back = order.restore_pin if item.file == TOKEN_OBJECT else order.mode == REPLACE
    return Action.CHANGE if put_back else Action.DIFFERS


def _surplus(archived: set[str], order: Order, now: State) -> Iterator[IndexedObject]:
    for file, one in sorted(now.live.items()):
        chosen = order.selection.meant(one.object_class, one.label, one.id)
        if chosen and file not in archived and file != TOKEN_OBJECT:
            yield IndexedObject(file, one.object_class, one.label, one.id, one.size, one.digest)


def _growth(step: Step, now: State) -> int:
    file, size = step.object.file, step.object.size
    if step.action is Action.ADD:
        return size
    if step.action is Action.REACTIVATE:
        return size - now.invalidated[file].size
    return size - now.live[file].size if step.action is Action.CHANGE else 0


def check_same_token(live: Partition, row: Mapping[str, Any]) -> None:
    """KeyfoldError `refused` if the partition lives on another token than the archived one (`row`: its declaration).

    SoftHSM encrypts private values under a key of the token: on another one they would be unreadable.
    """
    if (live.uuid, live.token_uuid) != (row["uuid"], row["token_uuid"]):
        raise KeyfoldError(
            "refused",
            f"the partition {live.name} was made anew since this backup: its keys cannot be read on the new token",
            not_done="nothing was written",
            next_step="restore it beside the new one (mode side-by-side), or choose a newer set: keyfold backup list",
        )
