"""Read the chain out of etcd."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from keyfold.audit.entry import Head
from keyfold.replication import keys
from keyfold.store.interface import KeyValue, Store

# Entries that one scan fetches: their keys share all but the last two digits.
_BLOCK = 100
_DIGITS = 16


def head(store: Store, *, revision: int = 0) -> Head | None:
    item = store.get(keys.AUDIT_HEAD, revision=revision)
    return None if item is None else Head.decode(item.value)


def entries(store: Store, first: int, last: int) -> Iterator[KeyValue]:
    """The entries `first` to `last` that there are, without looking at the others."""
    for block in range(first // _BLOCK, last // _BLOCK + 1):
        for item in store.scan(f"{keys.AUDIT_CHAIN}{block:0{_DIGITS - 2}}"):
            name = item.key.removeprefix(keys.AUDIT_CHAIN)
            if name.isdecimal() and len(name) == _DIGITS and first <= int(name) <= last:
                yield item


def pending(store: Store, now: datetime) -> dict[str, Any]:
    """`{"pending", "oldest_pending_seconds"}`; by the clock of the node that wrote the oldest note."""
    count, oldest = 0, None
    for item in store.scan(keys.AUDIT_PENDING, keys_only=True):
        count += 1
        if oldest is None:
            oldest = _age(item.key.removeprefix(keys.AUDIT_PENDING), now)
    return {"pending": count, "oldest_pending_seconds": oldest}


def summary(store: Store, now: datetime) -> dict[str, Any]:
    """For `keyfold status`."""
    end = head(store)
    return {"entries": 0 if end is None else end.seq, **pending(store, now)}


def _age(name: str, now: datetime) -> float | None:
    """A note's name begins with its time; something else under `pending/` has no age."""
    try:
        written = datetime.fromisoformat(name[: name.index("Z") + 1])
    except ValueError:
        return None
    return round(max((now - written).total_seconds(), 0.0), 1)
