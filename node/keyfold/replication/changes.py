"""A change set: what one commit writes, with the revision each object must still have. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.replication.sealed import StoredObject
from keyfold.token.object_file import Description


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


def portions(
    changes: Sequence[Change], before: Mapping[str, StoredObject], *, count: int, size_bytes: int
) -> Iterator[Sequence[Change]]:
    """The changes in order, in runs that fit into one transaction each; one that is too large alone is a run alone.

    `before`: committed content, which a destroyed object takes along when it is kept as invalidated.
    """
    start, size = 0, 0
    for place, change in enumerate(changes):
        content = change.content or before.get(change.file)
        more = 0 if content is None else len(content.data)
        if place > start and (place - start >= count or size + more > size_bytes):
            yield changes[start:place]
            start, size = place, 0
        size += more
    if start < len(changes):
        yield changes[start:]
