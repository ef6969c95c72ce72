"""Bring an archive here and check it to its end, before anything is decided or written."""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, BinaryIO

from keyfold.backup import sets
from keyfold.backup.age import decrypting
from keyfold.backup.archive import TOKEN_OBJECT, ArchivedObject, ArchiveReader, Label
from keyfold.backup.cluster import ClusterIdentity
from keyfold.backup.cluster_archive import ArchivedEntry, ClusterArchiveReader, ClusterLabel
from keyfold.backup.manifest import ArchiveEntry, Manifest
from keyfold.backup.progress import Progress
from keyfold.backup.verify import archive_problem
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote
from keyfold.restore.select import IndexedObject, Selection
from keyfold.token.object_file import TornFile, check, identity

# So much of what was asked for is kept in memory while an archive is checked, which spares decrypting it twice.
_KEPT_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class ArchiveIndex:
    """A checked archive without its data. `token`: the token object, which comes first when a partition is rebuilt.

    `kept`: all objects of the selection, or None if they are too much to keep in memory.
    """

    row: Mapping[str, Any]
    objects: tuple[IndexedObject, ...]
    token: ArchivedObject | None
    kept: tuple[ArchivedObject, ...] | None


def download(remote: Remote, cluster_uuid: str, manifest: Manifest, entry: ArchiveEntry, into: BinaryIO) -> None:
    """Copy the ciphertext; KeyfoldError `refused` unless it is, byte for byte, what the manifest names."""
    digest, size = hashlib.sha256(), 0
    name = f"{sets.collection(cluster_uuid, manifest.set_id)}/{entry.archive}"
    with Progress("downloading", entry.size_bytes) as bar, remote.get(name) as chunks:
        for chunk in chunks:
            size += len(chunk)
            if size > entry.size_bytes:
                break
            digest.update(chunk)
            into.write(chunk)
            bar.advance(len(chunk))
    into.flush()
    problem = archive_problem(entry, size, digest.hexdigest())
    if problem:
        raise _refused(manifest.set_id, problem)


def read_index(
    ciphertext: BinaryIO,
    cluster: ClusterIdentity,
    manifest: Manifest,
    entry: ArchiveEntry,
    keep: Selection | None = None,
) -> ArchiveIndex:
    """Decrypt and read everything once: only a whole, genuine archive in its own place passes.

    KeyfoldError `refused` otherwise. `keep`: which objects to keep in memory as well.
    """
    found: list[IndexedObject] = []
    token: ArchivedObject | None = None
    kept: list[ArchivedObject] = []
    room = _KEPT_BYTES
    with _opened(ciphertext, cluster) as reader, Progress("checking", entry.objects) as bar:
        _check_place(reader, cluster, manifest, entry)
        for item in reader.objects():
            found.append(_indexed(item, manifest.set_id))
            token = item if item.file == TOKEN_OBJECT else token
            if keep and room > 0 and keep.meant(found[-1].object_class, found[-1].label, found[-1].id):
                kept.append(item)
                room -= len(item.data)
            bar.advance(1)
    if len(found) != entry.objects:
        raise _refused(manifest.set_id, f"it has {len(found)} objects, its manifest says {entry.objects}")
    return ArchiveIndex(reader.partition_row, tuple(found), token, tuple(kept) if keep and room > 0 else None)


def read_objects(ciphertext: BinaryIO, cluster: ClusterIdentity, files: Collection[str]) -> Iterator[ArchivedObject]:
    """The objects with these files, out of an archive that `read_index` has passed."""
    with _opened(ciphertext, cluster) as reader:
        for item in reader.objects():
            if item.file in files:
                yield item


def read_entries(
    ciphertext: BinaryIO, cluster: ClusterIdentity, manifest: Manifest, entry: ArchiveEntry
) -> Iterator[ArchivedEntry]:
    """The entries of the cluster's own archive; after the last of them it is known to be whole and in its own place.

    KeyfoldError `refused` otherwise.
    """
    count = 0
    with decrypting(cluster.backup_identity, ciphertext) as plain:
        reader = ClusterArchiveReader(plain)
        expected = ClusterLabel(reader.label.format, cluster.uuid, manifest.set_id, manifest.revision)
        if reader.label != expected:
            raise _refused(
                manifest.set_id, f"the cluster's archive was swapped: it is that of set {reader.label.set_id}"
            )
        for one in reader.entries():
            count += 1
            yield one
    if count != entry.objects:
        raise _refused(manifest.set_id, f"the cluster's archive has {count} entries, its manifest says {entry.objects}")


@contextmanager
def _opened(ciphertext: BinaryIO, cluster: ClusterIdentity) -> Iterator[ArchiveReader]:
    with decrypting(cluster.backup_identity, ciphertext) as plain:
        yield ArchiveReader(plain)


def _check_place(reader: ArchiveReader, cluster: ClusterIdentity, manifest: Manifest, entry: ArchiveEntry) -> None:
    expected = Label(reader.label.format, cluster.uuid, manifest.set_id, entry.name, entry.uuid)
    row = reader.partition_row
    if reader.label != expected:
        raise _refused(
            manifest.set_id,
            f"the archive of {entry.name} was swapped: it is that of {reader.label.partition} "
            f"in set {reader.label.set_id} of cluster {reader.label.cluster_uuid}",
        )
    if (row.get("name"), row.get("uuid")) != (entry.name, entry.uuid) or not isinstance(row.get("token_uuid"), str):
        raise _refused(manifest.set_id, f"the partition's row in the archive of {entry.name} is not its own")


def _indexed(item: ArchivedObject, set_id: str) -> IndexedObject:
    try:
        check(item.data)
    except TornFile as error:
        raise _refused(set_id, f"the object {item.file} is incomplete: {error}") from error
    meta = item.meta
    return IndexedObject(
        item.file, meta.get("class"), meta.get("label"), meta.get("id"), len(item.data), identity(item.data)
    )


def _refused(set_id: str, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"backup set {set_id}: {reason}",
        not_done="nothing of it was written",
        next_step="keyfold backup verify; then restore from another set",
    )
