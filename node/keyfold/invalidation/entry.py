"""An object as the life after its destruction needs it, and which ones are meant. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.replication.sealed import StoredObject
from keyfold.store.interface import KeyValue

PUBLIC, PRIVATE = 2, 3
"""CKO_PUBLIC_KEY, CKO_PRIVATE_KEY (PKCS#11 v2.40)."""


@dataclass(frozen=True, slots=True)
class Entry:
    """A live object, or an invalidated one. `label`, `id`: hex, None where the cluster knows none.

    `object_class`: CKO_ number; `created`, `invalidated_at`: RFC 3339 ("" while live); `revision`: of its key in etcd.
    """

    file: str
    object_class: int | None
    label: str | None
    id: str | None
    size: int
    created: str
    invalidated_at: str
    revision: int

    @property
    def named(self) -> tuple[int | None, str, str] | None:
        """What an application finds it by; None if it has neither ID nor label."""
        if not (self.id or self.label):
            return None
        return self.object_class, self.id or "", self.label or ""

    def as_row(self, action: str) -> dict[str, Any]:
        return {
            "action": action,
            "file": self.file,
            "class": self.object_class,
            "label": self.label,
            "id": self.id,
            "size": self.size,
            "invalidated_at": self.invalidated_at or None,
        }

    def __str__(self) -> str:
        label = "" if not self.label else f" label {bytes.fromhex(self.label).decode('utf-8', 'replace')!r}"
        return f"{self.file} (class {self.object_class}{label}{f' ID {self.id}' if self.id else ''})"


def entry(file: str, item: KeyValue, content: StoredObject) -> Entry:
    meta: Mapping[str, Any] = content.meta
    return Entry(
        file=file,
        object_class=meta.get("class"),
        label=meta.get("label"),
        id=meta.get("id"),
        size=len(content.data),
        created=str(meta.get("created", "")),
        invalidated_at=str(meta.get("invalidated_at", "")),
        revision=item.mod_revision,
    )


@dataclass(frozen=True, slots=True)
class Selection:
    """`files` by name, `labels` as text, `ids` in hex; an object that any of them names is meant."""

    files: tuple[str, ...] = ()
    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()

    @classmethod
    def of(cls, request: Mapping[str, Any]) -> Selection:
        """Out of a request; KeyfoldError `invalid` if it names nothing."""
        lists = {key: request.get(key, []) for key in ("files", "labels", "ids")}
        if not all(
            isinstance(names, list) and all(isinstance(name, str) for name in names) for names in lists.values()
        ):
            raise _invalid("files, labels and ids are lists of text")
        selection = cls(*(tuple(names) for names in lists.values()))
        if not (selection.files or selection.labels or selection.ids):
            raise _invalid("no object is named")
        return selection

    def labelled(self, entries: Iterable[Entry]) -> list[Entry]:
        """Those that a label or an ID names."""
        labels = {label.encode().hex() for label in self.labels}
        ids = {name.lower() for name in self.ids}
        return [one for one in entries if one.label in labels or one.id in ids]

    def unmatched(self, entries: Iterable[Entry]) -> list[str]:
        """Labels and IDs that none of the entries has."""
        there = list(entries)
        labels, ids = {one.label for one in there}, {one.id for one in there}
        missing = [f"label {label!r}" for label in self.labels if label.encode().hex() not in labels]
        return missing + [f"ID {name}" for name in self.ids if name.lower() not in ids]


def _invalid(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid", what, not_done="nothing was changed", next_step="name objects with --file, --label or --id"
    )
