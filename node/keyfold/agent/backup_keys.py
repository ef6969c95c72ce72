"""Rotate the cluster's backup and signing keys, and destroy what no set needs any more (docs/custody.md)."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.config import credential
from keyfold.custody import record
from keyfold.custody.derive import ROOT_BYTES, root_fingerprint
from keyfold.custody.epochs import add_backup_epoch, backup_key_files
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.replication.sealed import ClearSealer
from keyfold.replication.token_files import live_puts, stored
from keyfold.store.interface import Delete, KeyValue, Op, Put, Unchanged


class BackupKeys:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    def rotate(self, root: bytes, from_epoch: int) -> dict[str, Any]:
        """`{"cluster"}`: the keys of the next epoch are in the system partition, side by side with those before.

        KeyfoldError `refused`: another cluster's root; `conflict`: the epoch is no longer `from_epoch`.
        """
        item, cluster = self._cluster()
        self._require_own_root(cluster, root)
        epoch = record.backup_epoch(cluster)
        if epoch != from_epoch:
            raise KeyfoldError(
                "conflict",
                f"the backup keys are those of epoch {epoch}, not {from_epoch}: somebody has rotated them meanwhile",
                not_done="no key was made",
                next_step="keyfold cluster info; for another one: playbooks/rotate_backup_key.yml",
            )
        there = stored(self._store, SYSTEM, ClearSealer())
        files = {file: content.data for file, (_, content) in there.items()}
        pin = credential("system.pin")
        added = add_backup_epoch(self._scratch(), files, pin, root, cluster["uuid"], epoch + 1)
        now = stamp(self._service.clock.utc())
        fresh = record.backup_keys_row(added.backup_public_key, added.signing_public_key)
        changed = record.next_epoch(cluster, fresh, now)
        ops = live_puts(SYSTEM, added.files, ClearSealer(), now)
        self._commit(item, changed, [], ops, "rotate backup key", epoch + 1)
        return {"cluster": changed}

    def retire(self, epochs: Sequence[int]) -> dict[str, Any]:
        """`{"cluster", "retired"}`: the private backup keys of these older epochs are destroyed, on every node.

        Destroyed, not invalidated. KeyfoldError `invalid` for the current epoch or an unknown one.
        """
        done = []
        for epoch in sorted(set(epochs)):
            item, cluster = self._cluster()
            row = next((row for row in record.older(cluster) if row["epoch"] == epoch), None)
            if row is None:
                raise KeyfoldError(
                    "invalid",
                    f"epoch {epoch} is not an older epoch of the backup keys",
                    not_done="no key was destroyed",
                    next_step="keyfold cluster info shows the epochs",
                )
            if row["retired"]:
                continue
            there = stored(self._store, SYSTEM, ClearSealer())
            files = {file: content.data for file, (_, content) in there.items()}
            gone = backup_key_files(self._scratch(), files, credential("system.pin"), epoch)
            compares = [Unchanged(keys.live(SYSTEM, file), there[file][0].mod_revision) for file in gone]
            changed = record.retired(cluster, epoch, stamp(self._service.clock.utc()))
            self._commit(
                item,
                changed,
                compares,
                [Delete(keys.live(SYSTEM, file)) for file in sorted(gone)],
                "destroy backup key",
                epoch,
            )
            done.append(epoch)
        return {"cluster": self._cluster()[1], "retired": done}

    def _cluster(self) -> tuple[KeyValue, dict[str, Any]]:
        self._service.registry.sealer(SYSTEM)
        item = self._store.get(keys.CLUSTER)
        if item is None:
            raise AssertionError("a cluster that the registry has opened is in etcd")
        return item, json.loads(item.value)

    def _scratch(self) -> Path:
        return Path(tempfile.mkdtemp(dir=self._service.config.state / "agent", prefix="epoch-"))

    def _commit(
        self,
        item: KeyValue,
        cluster: Mapping[str, Any],
        compares: Sequence[Unchanged],
        ops: Sequence[Op],
        what: str,
        epoch: int,
    ) -> None:
        entry = note(self._service.clock, self._service.config.node, what=what, who="administrator", backup_epoch=epoch)
        puts = [Put(keys.HEAD, b""), Put(keys.CLUSTER, json.dumps(cluster).encode()), entry]
        result = self._store.txn([Unchanged(keys.CLUSTER, item.mod_revision), *compares], [*puts, *ops])
        if not result.succeeded:
            raise KeyfoldError(
                "conflict",
                "the cluster's keys were changed by somebody else at the same moment",
                not_done="no key was made or destroyed",
                next_step="keyfold cluster info; then run the playbook again",
            )

    def _require_own_root(self, cluster: Mapping[str, Any], root: bytes) -> None:
        """By its fingerprint where the ceremony left one, and by the key that the cluster has in use."""
        custody = cluster.get("custody")
        if len(root) == ROOT_BYTES:
            epoch = record.backup_epoch(cluster)
            derived = MemorySystemKeys(root, cluster["uuid"], (epoch,))
            known = custody is None or custody["root_fingerprint"] == root_fingerprint(root, cluster["uuid"])
            if known and record.fingerprint(derived.backup_public_key()) == cluster["backup_key_fingerprint"]:
                return
        raise KeyfoldError(
            "refused",
            f"this is not the root of cluster {cluster['name']} ({cluster['uuid']})",
            not_done="no key was made",
            next_step="bring the shares of this cluster; the sheets name their cluster",
        )
