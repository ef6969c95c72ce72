"""What a restore request asks for: the own fields of an approval request of kind `restore`. Pure."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfold.approval.request import Request
from keyfold.backup.sets import is_set_id
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import SYSTEM, check_name
from keyfold.restore.select import CLASSES, Selection

KIND = "restore"
MERGE, REPLACE, SIDE_BY_SIDE = "merge", "replace", "side-by-side"
MODES = (MERGE, REPLACE, SIDE_BY_SIDE)
PIN_KEEP, PIN_RESTORE = "keep", "restore"
_FIELDS = frozenset({"set", "manifest_sha256", "medium", "mode", "labels", "ids", "classes", "pin", "as", "chargeable"})
_SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class Order:
    """`partition` None: every partition of the set. `set_id`: an ID, or `latest` in a preview that nobody signs.

    `manifest_sha256`: hex, "" only in such a preview. `target`: the new partition's name in mode `side-by-side`.
    `medium`: ID of the offline medium that has the set; None: the store has it.
    """

    partition: str | None
    set_id: str
    manifest_sha256: str = ""
    mode: str = MERGE
    selection: Selection = field(default_factory=Selection)
    restore_pin: bool = False
    target: str | None = None
    chargeable: bool = True
    medium: str | None = None

    def __post_init__(self) -> None:
        if self.mode not in MODES:
            raise invalid(f"there is no mode {self.mode!r}", f"use one of {', '.join(MODES)}")
        if (self.mode == SIDE_BY_SIDE) != (self.target is not None):
            raise invalid(
                f"mode {self.mode} and {'a' if self.target else 'no'} name for a new partition do not fit together",
                "give 'as' with mode side-by-side, and with no other",
            )
        if self.mode == SIDE_BY_SIDE and not self.selection.everything:
            raise invalid("a new partition is made of the whole one in the backup", "leave labels, ids and classes out")
        if self.partition is None and (self.target is not None or not self.selection.everything):
            raise invalid("keys and new partitions are of one partition", "name the partition")
        if SYSTEM in (self.partition, self.target):
            raise invalid("the system partition is not restored from a backup set", "docs/runbooks: rebuild")

    def fields(self) -> dict[str, Any]:
        """The request's own fields that ask for exactly this."""
        chosen = self.selection
        lists = {"labels": chosen.labels, "ids": chosen.ids, "classes": chosen.classes}
        return {
            "set": self.set_id,
            "manifest_sha256": self.manifest_sha256,
            **({} if self.medium is None else {"medium": self.medium}),
            "mode": self.mode,
            **({} if self.target is None else {"as": self.target}),
            **{name: list(values) for name, values in lists.items() if values},
            **({"pin": PIN_RESTORE} if self.restore_pin else {}),
            **({} if self.chargeable else {"chargeable": False}),
        }


def order_of(request: Request) -> Order:
    """KeyfoldError `invalid` names the field that cannot be used; who signed is not looked at here."""
    if request.kind != KIND:
        raise invalid(f"it is of kind {request.kind!r}", f"write kind: {KIND}")
    own = request.own
    if unknown := sorted(set(own) - _FIELDS):
        raise invalid(f"there is no field {unknown[0]!r}", f"known: {', '.join(sorted(_FIELDS))}")
    set_id, digest = _text(own, "set"), _text(own, "manifest_sha256")
    if not is_set_id(set_id):
        raise invalid(f"'set' is {set_id!r}, not the ID of a backup set", "keyfold backup list; never 'latest'")
    if not _SHA256.fullmatch(digest):
        raise invalid("'manifest_sha256' is not a SHA-256 in hex", "keyfold restore request writes it")
    classes = _list(own, "classes")
    if wrong := sorted(set(classes) - set(CLASSES)):
        raise invalid(f"there is no class {wrong[0]!r}", f"use {', '.join(CLASSES)}")
    if own.get("pin", PIN_KEEP) not in (PIN_KEEP, PIN_RESTORE):
        raise invalid("'pin' is neither keep nor restore", f"write pin: {PIN_KEEP} or leave it out")
    if type(own.get("chargeable", True)) is not bool:
        raise invalid("'chargeable' is not true or false", "write chargeable: false or leave it out")
    return Order(
        partition=None if request.partition is None else check_name(request.partition),
        set_id=set_id,
        manifest_sha256=digest,
        mode=_text(own, "mode"),
        selection=Selection(_list(own, "labels"), _list(own, "ids"), classes),
        restore_pin=own.get("pin") == PIN_RESTORE,
        target=check_name(own["as"]) if "as" in own else None,
        chargeable=own.get("chargeable", True),
        medium=_text(own, "medium") if "medium" in own else None,
    )


def _text(own: Mapping[str, Any], name: str) -> str:
    value = own.get(name)
    if not isinstance(value, str) or not value:
        raise invalid(f"{name!r} is missing, or not text", "keyfold restore request writes a whole request")
    return value


def _list(own: Mapping[str, Any], name: str) -> tuple[str, ...]:
    value = own.get(name, [])
    if not isinstance(value, list) or not all(isinstance(one, str) and one for one in value):
        raise invalid(f"{name!r} is not a list of text", f"write {name}: [one, another], numbers in quotes")
    return tuple(value)


def invalid(what: str, next_step: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        f"the restore request cannot be used: {what}",
        not_done="nothing was read from the store or written",
        next_step=next_step,
    )
