"""A change set: what one commit writes, with the revision each object must still have. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from keyfold.replication.sealed import StoredObject
from keyfold.token.object_file import Description

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Change:
    """`content` None: the object is destroyed; `expected` 0: it must not exist yet."""

    file: str
    expected: int
    content: StoredObject | None
    digest: str | None


def metadata(
    files: Mapping[str, Description],
    hints: Sequence[Mapping[str, Any]],
    before: Mapping[str, Mapping[str, Any]],
    now: str,
) -> dict[str, dict[str, Any]]:
    """Metadata of each file: what the file shows in clear, else what the module said of it, else what was known.

    SoftHSM encrypts label and ID of private objects, so the module's hints are matched by class (and key type);
    its create.lock guarantees that the new files are those of its own call. Each hint serves one file.
    """
    left = list(hints)
    result = {}
    for file, seen in files.items():
        hint = next((hint for hint in left if _fits(hint, seen)), None)
        if hint is not None:
            left.remove(hint)
        known = before.get(file, {})
        said = {**known, **(hint or {})}
        result[file] = {
            "class": seen.object_class,
            "key_type": seen.key_type,
            "label": said.get("label") if seen.label is None else seen.label.hex(),
            "id": said.get("id") if seen.id is None else seen.id.hex(),
            "created": known.get("created", now),
        }
    return result


def _fits(hint: Mapping[str, Any], seen: Description) -> bool:
    if hint.get("class") != seen.object_class:
        return False
    return hint.get("key_type") is None or seen.key_type is None or hint["key_type"] == seen.key_type


def portions(items: Sequence[T], size: Callable[[T], int], *, count: int, size_bytes: int) -> Iterator[Sequence[T]]:
    """The items in order, in runs that fit into one transaction each; one that is too large alone is a run alone."""
    start, held = 0, 0
    for place, item in enumerate(items):
        more = size(item)
        if place > start and (place - start >= count or held + more > size_bytes):
            yield items[start:place]
            start, held = place, 0
        held += more
    if start < len(items):
        yield items[start:]
