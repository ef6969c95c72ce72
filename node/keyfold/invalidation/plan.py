"""What reactivating or purging would do: all of it, or a reason why nothing is done. Pure."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass

from keyfold.errors import KeyfoldError
from keyfold.invalidation.entry import PRIVATE, PUBLIC, Entry, Selection

REACTIVATE, PURGE, UNTOUCHED = "reactivate", "purge", "untouched"


@dataclass(frozen=True, slots=True)
class Plan:
    """`writes`: the invalidated objects it changes; `done`: files that were named and are as wanted already."""

    action: str
    writes: tuple[Entry, ...]
    done: tuple[str, ...] = ()

    @property
    def files(self) -> list[str]:
        """What officers approve. With what is done already, so that an approval still fits after an interruption."""
        return sorted({*(one.file for one in self.writes), *self.done})

    def rows(self) -> list[dict[str, object]]:
        found: list[dict[str, object]] = [one.as_row(self.action) for one in self.writes]
        return found + [{"action": UNTOUCHED, "file": file} for file in self.done]


def reactivate(
    selection: Selection, live: Sequence[Entry], invalidated: Sequence[Entry], *, with_public: bool = True
) -> Plan:
    """Bring the chosen objects back; a private key brings its public half along unless `with_public` is False.

    KeyfoldError `not_found` names what is neither invalidated nor live; `conflict` what would collide, and with what.
    """
    shadows, there = _by_file(invalidated), _by_file(live)
    missing = [file for file in selection.files if file not in shadows and file not in there]
    missing += selection.unmatched([*invalidated, *live])
    if missing:
        raise KeyfoldError(
            "not_found",
            f"neither invalidated nor live: {', '.join(missing)}",
            not_done="nothing was reactivated",
            next_step="keyfold object list PARTITION --invalidated; what was purged is only in a backup "
            "(playbooks/restore.yml)",
        )
    chosen = _by_file(selection.labelled(invalidated))
    chosen |= {file: shadows[file] for file in selection.files if file in shadows}
    if with_public:
        halves = (half for one in list(chosen.values()) if (half := _public_half(one, invalidated)) is not None)
        chosen |= {half.file: half for half in halves}
    writes = tuple(chosen[file] for file in sorted(chosen))
    _refuse_collisions(writes, live)
    return Plan(REACTIVATE, writes, tuple(sorted({file for file in selection.files if file not in shadows})))


def purge(selection: Selection, live: Collection[str], invalidated: Sequence[Entry], purged: Collection[str]) -> Plan:
    """Forget the chosen objects for good. A label or ID that no invalidated object has is as wanted already.

    KeyfoldError `conflict` for a file that is live (`live`: their names), `not_found` for one that never was.
    """
    shadows = _by_file(invalidated)
    alive = [file for file in selection.files if file in live]
    if alive:
        raise KeyfoldError(
            "conflict",
            f"live objects are not purged: {', '.join(alive)}",
            not_done="nothing was purged",
            next_step="their owner destroys them first; then purge what is invalidated",
        )
    missing = [file for file in selection.files if file not in shadows and file not in purged]
    if missing:
        raise KeyfoldError(
            "not_found",
            f"not invalidated: {', '.join(missing)}",
            not_done="nothing was purged",
            next_step="keyfold object list PARTITION --invalidated",
        )
    chosen = _by_file(selection.labelled(invalidated))
    chosen |= {file: shadows[file] for file in selection.files if file in shadows}
    done = tuple(sorted({file for file in selection.files if file not in shadows}))
    return Plan(PURGE, tuple(chosen[file] for file in sorted(chosen)), done)


def _by_file(entries: Iterable[Entry]) -> dict[str, Entry]:
    return {one.file: one for one in entries}


def _public_half(private: Entry, invalidated: Iterable[Entry]) -> Entry | None:
    """The invalidated public key of a private one: same ID and label, and of the same moment if there are several."""
    if private.object_class != PRIVATE or private.named is None:
        return None
    _, key_id, label = private.named
    halves = [one for one in invalidated if one.named == (PUBLIC, key_id, label)]
    if len(halves) > 1:
        halves = [one for one in halves if one.created == private.created]
    return halves[0] if len(halves) == 1 else None


def _refuse_collisions(writes: Sequence[Entry], live: Iterable[Entry]) -> None:
    files, names = set[str](), defaultdict[tuple[int | None, str, str], list[Entry]](list)
    for one in live:
        files.add(one.file)
        if one.named is not None:
            names[one.named].append(one)
    clashes = []
    for one in writes:
        if one.file in files:
            clashes.append(f"{one} is live already")
        elif one.named is not None:
            clashes += [f"{one} with {_state(other)} {other}" for other in names[one.named]]
            names[one.named].append(one)
    if clashes:
        raise KeyfoldError(
            "conflict",
            f"an application could not tell them apart: {'; '.join(clashes)}",
            not_done="nothing was reactivated",
            next_step="choose by --file among those of one name, or let the owner rename or destroy the live one",
        )


def _state(other: Entry) -> str:
    return "the other invalidated" if other.invalidated_at else "the live"
