"""What a rebuild sends to the agent, in requests that fit its socket's longest line. Pure."""

from __future__ import annotations

import base64
from collections.abc import Iterable, Iterator
from itertools import chain
from typing import Any

from keyfold.backup.archive import ArchivedObject
from keyfold.backup.cluster_archive import ArchivedEntry

# Below the agent's limit of a request line, which holds them in Base64.
BATCH_BYTES = 4 << 20
BATCH_ITEMS = 2000


def object_batches(token: ArchivedObject, others: Iterable[ArchivedObject]) -> Iterator[list[dict[str, Any]]]:
    """Objects as `rebuild_partition` takes them; the token object first, with which the partition begins to exist."""
    rows = (
        (len(item.data), {"file": item.file, "meta": dict(item.meta), "data": base64.b64encode(item.data).decode()})
        for item in chain([token], others)
    )
    return _batches(rows)


def entry_batches(entries: Iterable[ArchivedEntry]) -> Iterator[list[dict[str, Any]]]:
    """Entries as `rebuild_entries` takes them."""
    return _batches(
        (len(entry.value), {"key": entry.key, "value": base64.b64encode(entry.value).decode()}) for entry in entries
    )


def _batches(rows: Iterable[tuple[int, dict[str, Any]]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for length, row in rows:
        if batch and (size + length > BATCH_BYTES or len(batch) == BATCH_ITEMS):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch
