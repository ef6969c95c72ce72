"""Which objects of an archive are meant: all, or keys by label, ID and class. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from keyfold.errors import KeyfoldError

CLASSES = {"data": 0, "certificate": 1, "public": 2, "private": 3, "secret": 4}
"""CKO_ numbers (PKCS#11 v2.40, object classes) by the names used on the command line."""


@dataclass(frozen=True, slots=True)
class IndexedObject:
    """What restoring needs to know of an archived object. `label`, `id`: hex, or None where the cluster has none.

    `object_class`: CKO_ number, None for token.object; `digest`: identity of the file; `size`: its bytes.
    """

    file: str
    object_class: int | None
    label: str | None
    id: str | None
    size: int
    digest: str


@dataclass(frozen=True, slots=True)
class Selection:
    """`labels` as text, `ids` in hex, `classes` by name. A label or ID means every class, unless classes are given."""

    labels: tuple[str, ...] = ()
    ids: tuple[str, ...] = ()
    classes: tuple[str, ...] = ()

    @property
    def everything(self) -> bool:
        return not (self.labels or self.ids or self.classes)

    def meant(self, object_class: int | None, label: str | None, key_id: str | None) -> bool:
        """Whether an object with this CKO_ number, label and ID (hex) is one of them."""
        named = not (self.labels or self.ids)
        named = named or label in {text.encode().hex() for text in self.labels}
        named = named or key_id in {text.lower() for text in self.ids}
        return named and (not self.classes or object_class in {CLASSES[name] for name in self.classes})


def select(objects: Iterable[IndexedObject], selection: Selection) -> list[IndexedObject]:
    """The objects meant, in their order. KeyfoldError `not_found` names every label and ID that matches nothing."""
    labels = {label.encode().hex(): label for label in selection.labels}
    ids = {key_id.lower(): key_id for key_id in selection.ids}
    chosen = [item for item in objects if selection.meant(item.object_class, item.label, item.id)]
    missing = [f"label {labels[label]!r}" for label in sorted(set(labels) - {item.label for item in chosen})]
    missing += [f"ID {ids[key_id]}" for key_id in sorted(set(ids) - {item.id for item in chosen})]
    if missing or not chosen:
        kind = f" of class {', '.join(selection.classes)}" if selection.classes else ""
        raise KeyfoldError(
            "not_found",
            f"the backup has no object with {', '.join(missing)}{kind}"
            if missing
            else f"the backup has no object{kind}",
            not_done="nothing was restored",
            next_step="keyfold restore preview without a selection lists everything in the backup",
        )
    return chosen
