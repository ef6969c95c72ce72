"""What is on a medium: checked against the register and the cluster's signature and, while its key lives, opened."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

from keyfold.backup import sets
from keyfold.backup.cluster import Agent, ClusterIdentity, ClusterState
from keyfold.backup.manifest import MEDIUM, Manifest
from keyfold.backup.sets import StoredSet
from keyfold.backup.spool import scratch_file
from keyfold.backup.verify import verify_sets
from keyfold.errors import KeyfoldError
from keyfold.media.register import ACTIVE, Medium
from keyfold.remote import Remote
from keyfold.restore.fetch import download, read_index


class MediumState(ClusterState):
    """The cluster as a restore from this medium sees it: archives open with the medium's key, its set is known."""

    def __init__(self, agent: Agent, medium: Medium) -> None:
        super().__init__(agent)
        self._medium = medium

    def identity(self) -> ClusterIdentity:
        return replace(super().identity(), backup_recipient=self._medium.recipient)

    def records(self, kind: str) -> dict[str, dict[str, Any]]:
        return _records(self._medium) if kind == sets.RECORD_KIND else super().records(kind)


def require_living(medium: Medium) -> None:
    """KeyfoldError `refused` unless the medium was finished and its key lives."""
    if medium.state == ACTIVE:
        return
    gone = medium.destroyed
    what = "was never finished" if gone is None else f"is destroyed: its key was, on {gone.at[:10]} ({gone.because})"
    raise KeyfoldError(
        "refused",
        f"medium {medium.id} ({medium.name}) {what}",
        not_done="nothing was read: nothing opens it",
        next_step="keyfold media list shows its certificate; restore from a backup set in the store instead",
    )


def checked_set(remote: Remote, cluster: ClusterIdentity, medium: Medium) -> StoredSet:
    """Its set: the only one, signed by this cluster, whole, and the one registered, if any. KeyfoldError `refused`."""
    foreign = [entry.name for entry in remote.list() if entry.collection and entry.name != cluster.uuid]
    found = verify_sets(remote, cluster.signer, _records(medium))
    if not found:
        what = f"it is a medium of another cluster: {foreign[0]}" if foreign else "there is no backup set on it"
        raise _refused(medium, what)
    stored = found[0]
    if len(found) > 1 or stored.problem:
        raise _refused(medium, stored.problem or f"there are {len(found)} sets on it")
    if stored.manifest is None or stored.manifest.retention_class != MEDIUM:
        raise _refused(medium, "the set on it was not made for a medium")
    if stored.manifest.backup_key_fingerprint != medium.key_fingerprint:
        raise _refused(medium, "what is on the device is another medium")
    if medium.set_id and stored.set_id != medium.set_id:
        raise _refused(medium, f"it has the set {stored.set_id}, the register says {medium.set_id}")
    return stored


def verify(agent: Agent, remote: Remote, medium: Medium, state: Path) -> Manifest:
    """The set on it: whole as `checked_set`, and every archive opens with the medium's key. KeyfoldError `refused`."""
    require_living(medium)
    cluster = MediumState(agent, medium).identity()
    manifest = checked_set(remote, cluster, medium).manifest
    if manifest is None:
        raise AssertionError("a checked set has a manifest")
    for entry in manifest.partitions:
        with scratch_file(state / "spool") as ciphertext:
            download(remote, cluster.uuid, manifest, entry, ciphertext)
            read_index(ciphertext, cluster, manifest, entry)
    return manifest


def _records(medium: Medium) -> dict[str, dict[str, Any]]:
    if not medium.set_id:
        return {}
    return {medium.set_id: {"set_id": medium.set_id, "sequence": 1, "manifest_sha256": medium.manifest_sha256}}


def _refused(medium: Medium, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"medium {medium.id} ({medium.name}), {medium.device}: {reason}",
        not_done="it proves nothing; do not restore from it",
        next_step="plug in the right device (keyfold media list); if it is, the medium is damaged: write another one",
    )
