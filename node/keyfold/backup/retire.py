"""Which older backup keys no set needs any more. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from keyfold.backup.sets import StoredSet


def retirable(older: Sequence[Mapping[str, Any]], current: str, found: Iterable[StoredSet]) -> list[int]:
    """Epochs among the cluster's `older_backup_keys` whose private key no set in the store is encrypted to.

    None while the store has no set under the `current` key (its fingerprint): an empty store may be the wrong one. None
    while a set's manifest cannot be believed: nobody knows which key its archives need.
    """
    manifests = [one.manifest for one in found]
    needed = {made.backup_key_fingerprint for made in manifests if made is not None}
    if None in manifests or current not in needed:
        return []
    return [int(row["epoch"]) for row in older if not row["retired"] and row["backup_key_fingerprint"] not in needed]
