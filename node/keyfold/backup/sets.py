"""The sets in a store: where they lie, which of them can be believed, which one is meant.

<store>/<cluster UUID>/<set ID>/manifest.jsonl      uploaded last: without it there is no set
<partition>-<random>.age
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from keyfold.backup import manifest
from keyfold.backup.manifest import Cluster, Manifest
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote

RECORD_KIND = "backup_set"
LATEST = "latest"

_SET_ID = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{8}")


@dataclass(frozen=True, slots=True)
class StoredSet:
    """A set as found. `manifest` is None, and `problem` says why, where its manifest is refused.

    `problem` may also name what is wrong around a good manifest; "" means that the set can be believed.
    """

    set_id: str
    manifest_sha256: str
    manifest: Manifest | None
    problem: str

    @property
    def sequence(self) -> int:
        return 0 if self.manifest is None else self.manifest.sequence


def is_set_id(name: str) -> bool:
    return _SET_ID.fullmatch(name) is not None


def collection(cluster_uuid: str, set_id: str) -> str:
    return f"{cluster_uuid}/{set_id}"


def without_safety(records: Mapping[str, Mapping[str, Any]]) -> dict[str, Mapping[str, Any]]:
    """The records of sets that backups made: a restore's safety set is no newer backup, only a way back."""
    return {set_id: row for set_id, row in records.items() if row.get("retention_class") != manifest.SAFETY}


def read_all(remote: Remote, cluster: Cluster, records: Mapping[str, Mapping[str, Any]]) -> list[StoredSet]:
    """Every set of the cluster in the store, judged, newest first. Raises only the store's own KeyfoldErrors."""
    documents = {}
    for entry in remote.list(cluster.uuid):
        if entry.collection and is_set_id(entry.name):
            document = read_document(remote, cluster.uuid, entry.name)
            if document is not None:
                documents[entry.name] = document
    return judge(documents, cluster, records)


def read_document(remote: Remote, cluster_uuid: str, set_id: str) -> bytes | None:
    """The bytes of a set's manifest, not judged; None where there is none."""
    name = f"{collection(cluster_uuid, set_id)}/{manifest.NAME}"
    document = bytearray()
    try:
        with remote.get(name) as chunks:
            for chunk in chunks:
                document += chunk
                if len(document) > manifest.MAX_BYTES:
                    break
    except KeyfoldError as error:
        if error.code == "not_found":
            return None
        raise
    return bytes(document)


def judge(
    documents: Mapping[str, bytes], cluster: Cluster, records: Mapping[str, Mapping[str, Any]]
) -> list[StoredSet]:
    """Manifests by set ID → sets, newest first. Pure; `records` are etcd's, by set ID, which no store can alter."""
    found = [_judge_one(set_id, document, cluster, records.get(set_id)) for set_id, document in documents.items()]
    by_sequence: dict[int, list[StoredSet]] = {}
    for stored in found:
        by_sequence.setdefault(stored.sequence, []).append(stored)
    chained = [_with_chain(stored, by_sequence) for stored in found]
    return sorted(chained, key=lambda stored: (stored.sequence, stored.set_id), reverse=True)


def _judge_one(set_id: str, document: bytes, cluster: Cluster, record: Mapping[str, Any] | None) -> StoredSet:
    digest = manifest.sha256(document)
    try:
        verified = manifest.verify(document, cluster)
    except KeyfoldError as error:
        return StoredSet(set_id, digest, None, error.what)
    if verified.set_id != set_id:
        return StoredSet(set_id, digest, None, f"the manifest is that of set {verified.set_id}: sets were swapped")
    if record is not None and record["manifest_sha256"] != digest:
        return StoredSet(set_id, digest, None, "the manifest is not the one this cluster recorded for the set")
    return StoredSet(set_id, digest, verified, "")


def _with_chain(stored: StoredSet, by_sequence: Mapping[int, Sequence[StoredSet]]) -> StoredSet:
    if stored.manifest is None:
        return stored
    problem = ""
    before = by_sequence.get(stored.sequence - 1, ()) if stored.sequence > 1 else ()
    if len(by_sequence[stored.sequence]) > 1:
        problem = f"the store has two sets with the number {stored.sequence}"
    elif before and stored.manifest.previous_sha256 not in [one.manifest_sha256 for one in before]:
        problem = f"it does not follow the set with the number {stored.sequence - 1}: the chain of manifests is broken"
    elif not before and any(sequence < stored.sequence for sequence in by_sequence if sequence):
        problem = f"the set with the number {stored.sequence - 1} is missing between two others"
    return StoredSet(stored.set_id, stored.manifest_sha256, stored.manifest, problem)


def choose(
    found: Iterable[StoredSet], wanted: str, records: Mapping[str, Mapping[str, Any]]
) -> tuple[StoredSet, Manifest]:
    """The set with the ID `wanted`, or for `latest` the newest that is not a restore's safety set.

    KeyfoldError `refused` if its manifest cannot be believed, or if `latest` would silently be older than what this
    cluster recorded; `not_found` if there is none.
    """
    sets = list(found)
    if wanted == LATEST:
        daily = [one for one in sets if one.manifest is None or one.manifest.retention_class != manifest.SAFETY]
        recorded = without_safety(records)
        daily = [one for one in daily if one.set_id not in records or one.set_id in recorded]
        stored = next(iter(daily), None)
        _refuse_rollback(stored, daily, recorded)
    else:
        stored = next((one for one in sets if one.set_id == wanted), None)
    if stored is None:
        raise _absent(wanted, [one.set_id for one in sets])
    if stored.manifest is None:
        raise KeyfoldError(
            "refused",
            f"backup set {stored.set_id}: {stored.problem}",
            not_done="nothing was written",
            next_step="keyfold backup list, and name a good set with --set",
        )
    return stored, stored.manifest


def _absent(wanted: str, known: Sequence[str]) -> KeyfoldError:
    what = "the store has no backup set"
    if wanted != LATEST:
        what = f"there is no backup set {wanted} (there are: {', '.join(known) or 'none'})"
    return KeyfoldError("not_found", what, not_done="nothing was restored", next_step="keyfold backup list")


def _refuse_rollback(
    newest: StoredSet | None, sets: Sequence[StoredSet], records: Mapping[str, Mapping[str, Any]]
) -> None:
    # The age of a damaged set is known only where the cluster recorded it.
    damaged = next((one for one in sets if one.manifest is None and one.set_id not in records), None)
    recorded = max(records, key=lambda set_id: int(records[set_id]["sequence"]), default=None)
    if recorded is not None and (newest is None or newest.sequence < int(records[recorded]["sequence"])):
        found = next((one.problem for one in sets if one.set_id == recorded), "it is not in the store any more")
        what = f"the newest backup set, {recorded}, cannot be used: {found}"
    elif damaged is not None:
        what = f"backup set {damaged.set_id} is damaged, and may be the newest: {damaged.problem}"
    else:
        return
    raise KeyfoldError(
        "refused",
        what,
        not_done="nothing was restored: an older set is never taken for the newest in silence",
        next_step="keyfold backup list, and name the set to restore with --set",
    )
