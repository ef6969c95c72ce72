"""Found a cluster: make the system partition out of the root, once, in one transaction."""

from __future__ import annotations

import json
import shutil
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from keyfold.agent.service import Service
from keyfold.audit.note import note
from keyfold.clock import stamp
from keyfold.config import credential
from keyfold.custody import record
from keyfold.custody.create import CreatedSystem, create_system_token
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import DEFAULT_POLICY, SYSTEM
from keyfold.replication import keys
from keyfold.replication.sealed import ClearSealer
from keyfold.replication.token_files import live_puts
from keyfold.store.interface import Put, Unchanged


class Genesis:
    def __init__(self, service: Service) -> None:
        self._service = service
        self._store = service.store

    def found(
        self, name: str, cluster_uuid: str, root: bytes, custody: Mapping[str, Any] | None = None
    ) -> dict[str, Any]:
        """`{"cluster", "changed"}`; unchanged if this cluster exists already. The root is used and forgotten.

        `custody`: the ceremony's public record, kept in the cluster's row.

        KeyfoldError `conflict`: etcd holds another cluster; `invalid`: the root is not 32 bytes, or the UUID is not
        the one this node is configured for.
        """
        there = self._store.get(keys.CLUSTER)
        if there is not None:
            return {"cluster": self._same(json.loads(there.value), cluster_uuid), "changed": False}
        if len(root) != 32 or cluster_uuid != self._service.config.cluster_uuid:
            raise KeyfoldError(
                "invalid",
                "the root is not 32 bytes, or the cluster's UUID is not the one in keyfold.toml",
                not_done="no cluster was founded",
                next_step="run playbooks/genesis.yml, which holds the ceremony",
            )
        record.checked_custody(custody)
        scratch = Path(tempfile.mkdtemp(dir=self._service.config.state / "agent", prefix="genesis-"))
        try:
            made = create_system_token(scratch, 0, 0, credential("system.pin"), root, cluster_uuid)
            token = scratch / "tokens" / made.token_uuid
            files = {path.name: path.read_bytes() for path in token.glob("*.object")}
        finally:
            shutil.rmtree(scratch)
        return self._commit(name, cluster_uuid, made, files, record.checked_custody(custody))

    def _commit(
        self,
        name: str,
        cluster_uuid: str,
        made: CreatedSystem,
        files: dict[str, bytes],
        custody: dict[str, Any] | None,
    ) -> dict[str, Any]:
        now = stamp(self._service.clock.utc())
        cluster: dict[str, Any] = {
            "uuid": cluster_uuid,
            "name": name,
            **record.backup_keys_row(made.backup_public_key, made.signing_public_key),
            "audit_public_keys": {str(record.DATA_EPOCH): made.audit_public_key.hex()},
            "epoch": record.DATA_EPOCH,
            "backup_epoch": 1,
            "older_backup_keys": [],
            "custody": custody,
            "created": now,
        }
        row = {
            "name": SYSTEM,
            "uuid": str(uuid.uuid4()),
            "token_uuid": made.token_uuid,
            "package": "SYSTEM",
            "policy": dict(DEFAULT_POLICY),
            "backup": False,
            "created": now,
        }
        puts = [
            Put(keys.HEAD, b""),
            Put(keys.CLUSTER, json.dumps(cluster).encode()),
            Put(keys.partition(SYSTEM), json.dumps(row).encode()),
            *live_puts(SYSTEM, files, ClearSealer(), now),
        ]
        puts.append(
            note(
                self._service.clock,
                self._service.config.node,
                what="genesis",
                who="administrator",
                cluster=cluster_uuid,
                name=name,
                backup_key=cluster["backup_key_fingerprint"],
                signing_key=cluster["signing_key_fingerprint"],
                audit_key=record.fingerprint(made.audit_public_key),
            )
        )
        result = self._store.txn([Unchanged(keys.CLUSTER, 0)], puts)
        if not result.succeeded:
            winner = result.current[keys.CLUSTER]
            if winner is not None:
                return {"cluster": self._same(json.loads(winner.value), cluster_uuid), "changed": False}
        return {"cluster": cluster, "changed": True}

    def _same(self, cluster: dict[str, Any], cluster_uuid: str) -> dict[str, Any]:
        if cluster["uuid"] == cluster_uuid:
            return cluster
        raise KeyfoldError(
            "conflict",
            f"etcd holds another cluster: {cluster['name']}, {cluster['uuid']}",
            not_done="no cluster was founded",
            next_step="point this inventory at an etcd of its own, or use that cluster's own controller directory",
        )
