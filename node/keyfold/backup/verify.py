"""Check stored sets without any private key: signatures, chain, and the hash of every archive."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any

from keyfold.backup import sets
from keyfold.backup.manifest import ArchiveEntry, Cluster
from keyfold.backup.progress import Progress
from keyfold.backup.sets import StoredSet
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote


def verify_sets(
    remote: Remote, cluster: Cluster, records: Mapping[str, Mapping[str, Any]], wanted: str | None = None
) -> list[StoredSet]:
    """The sets (all, or the one `wanted`), each with the first problem found in it; newest first.

    Raises KeyfoldError `not_found` for an unknown set, and what the store raises when it does not answer.
    """
    found = sets.read_all(remote, cluster, records)
    if wanted is not None:
        found = [one for one in found if one.set_id == wanted]
        if not found:
            raise KeyfoldError(
                "not_found",
                f"there is no backup set {wanted}",
                not_done="nothing was verified",
                next_step="keyfold backup list",
            )
    with Progress("verifying", sum(_size(one) for one in found)) as bar:
        return [check_archives(remote, cluster.uuid, one, bar.advance) for one in found]


def _size(stored: StoredSet) -> int:
    return 0 if stored.manifest is None else sum(entry.size_bytes for entry in stored.manifest.archives)


def check_archives(
    remote: Remote, cluster_uuid: str, stored: StoredSet, advance: Callable[[int], None] = lambda _bytes: None
) -> StoredSet:
    """The set with what is wrong with its archives added to its problem; `advance` is told how much was read."""
    if stored.manifest is None:
        return stored
    place = sets.collection(cluster_uuid, stored.set_id)
    problems = [stored.problem]
    problems += [archive_of(remote, place, entry, advance) for entry in stored.manifest.archives]
    return replace(stored, problem="; ".join(filter(None, problems)))


def archive_of(
    remote: Remote, place: str, entry: ArchiveEntry, advance: Callable[[int], None] = lambda _bytes: None
) -> str:
    """Read one archive in the collection `place` to its end; what is wrong with it, or ""."""
    digest, size = hashlib.sha256(), 0
    try:
        with remote.get(f"{place}/{entry.archive}") as chunks:
            for chunk in chunks:
                digest.update(chunk)
                size += len(chunk)
                advance(len(chunk))
    except KeyfoldError as error:
        if error.code == "not_found":
            return f"the archive of {entry.name} is missing"
        raise
    return archive_problem(entry, size, digest.hexdigest())


def archive_problem(entry: ArchiveEntry, size: int, sha256: str) -> str:
    """What is wrong with an archive of this length and hash; "" if it is the one in the manifest."""
    if size < entry.size_bytes:
        return f"the archive of {entry.name} is cut short: {size} of {entry.size_bytes} bytes"
    if size > entry.size_bytes or sha256 != entry.ciphertext_sha256:
        return f"the archive of {entry.name} was altered"
    return ""


def require_good(checked: Sequence[StoredSet]) -> None:
    """KeyfoldError `refused` that names every set with a problem."""
    bad = [one for one in checked if one.problem]
    if bad:
        raise KeyfoldError(
            "refused",
            f"{len(bad)} of {len(checked)} backup sets failed: "
            + "; ".join(f"{one.set_id}: {one.problem}" for one in bad),
            not_done="nothing was changed; do not restore from these sets",
            next_step="keyfold backup run makes a new set; then look into the store",
        )
