"""The node under the agent: token directories, inotify, and provisioning through systemd."""

from __future__ import annotations

import json
import os
import pwd
import select
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from keyfold.config import Config, credential
from keyfold.custody.audit_signer import AuditSigner
from keyfold.custody.create import read_data_key
from keyfold.errors import KeyfoldError
from keyfold.partition import policy_file
from keyfold.partition.policy import SYSTEM
from keyfold.provision.plan import user
from keyfold.replication.host import Host
from keyfold.token.directory import TokenDirectory
from keyfold.token.inotify import Inotify
from keyfold.token.locks import FilePartitionLocks, PartitionLocks
from keyfold.token.softhsm import SoftHsmDirectory
from keyfold.token.watch import OVERFLOW

PROVISION_UNIT = "keyfold-provision.service"


class Machine(Host):
    """Needs root: the token directories belong to each partition's own user."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._inotify = Inotify()
        self._touched: dict[str, Callable[[str], None]] = {}
        self._draining = threading.Lock()
        self._declared: str | None = None
        self._provisioned: tuple[tuple[str, str], ...] | None = None
        self._audit_signer = AuditSigner(config.partition_directory(SYSTEM))

    @property
    def _kept(self) -> Path:
        """The rows this node knew last, also for a start without etcd."""
        return self._config.state / "agent" / "partitions.json"

    def publish_kept_policies(self) -> None:
        """At the agent's start: after a reboot an isolated node goes on signing under the policies it knew last."""
        policy_file.publish(self._config.run / "policy", self.provisioned())

    def check_cluster(self, cluster: Mapping[str, Any]) -> None:
        if cluster["uuid"] != self._config.cluster_uuid:
            raise KeyfoldError(
                "refused",
                f"etcd holds cluster {cluster['uuid']}, this node is configured for {self._config.cluster_uuid}",
                not_done="nothing was replicated",
                next_step="correct cluster.uuid in /etc/keyfold/keyfold.toml, or point the node at its own etcd",
            )

    def provision(self, rows: Sequence[Mapping[str, Any]]) -> None:
        ordered = sorted(rows, key=lambda row: str(row["name"]))
        declared = json.dumps({"partitions": ordered}, indent=1)
        if declared != self._declared:
            # First of all, and whatever becomes of the rest: a policy that became stricter waits for nothing.
            policy_file.publish(self._config.run / "policy", rows)
            fresh = self._kept.with_suffix(".new")
            fresh.write_text(declared, encoding="utf-8")
            fresh.rename(self._kept)
            self._declared = declared
        # What users and units depend on, and nothing else: a policy that changes is no reason to look at every unit.
        needed = tuple((str(row["name"]), str(row["package"])) for row in ordered)
        if needed == self._provisioned:
            return
        done = subprocess.run(["systemctl", "start", PROVISION_UNIT], capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise KeyfoldError(
                "internal",
                f"{PROVISION_UNIT} failed: {done.stderr.strip()}",
                not_done="users and units of new partitions are missing on this node",
                next_step=f"journalctl -u {PROVISION_UNIT}; then systemctl restart keyfold-agent",
            )
        self._provisioned = needed

    def provisioned(self) -> Sequence[Mapping[str, Any]]:
        try:
            rows: list[Mapping[str, Any]] = json.loads(self._kept.read_text(encoding="utf-8"))["partitions"]
        except FileNotFoundError:
            return ()
        return rows

    def open_partition(self, name: str, token_uuid: str) -> tuple[TokenDirectory, PartitionLocks]:
        home = self._config.partition_directory(name)
        uid, gid = self.owner(name)
        return SoftHsmDirectory(home / "tokens" / token_uuid, uid, gid), FilePartitionLocks(home)

    def watch(self, name: str, token_uuid: str, touched: Callable[[str], None]) -> None:
        self._touched[name] = touched
        self._inotify.add(self._config.partition_directory(name) / "tokens" / token_uuid, name)

    def drain(self) -> None:
        with self._draining:
            for change in self._inotify.drain():
                if change == OVERFLOW:
                    for touched in list(self._touched.values()):
                        touched("")
                elif change.key in self._touched:
                    self._touched[change.key](change.name)

    def wait_for_changes(self, timeout_seconds: float) -> bool:
        readable, _, _ = select.select([self._inotify], [], [], timeout_seconds)
        return bool(readable)

    def data_key(self, epoch: int) -> bytes:
        return read_data_key(self._config.partition_directory(SYSTEM), credential("system.pin"), epoch)

    def sign_audit(self, messages: Sequence[bytes], epoch: int) -> list[bytes]:
        return self._audit_signer.sign(messages, epoch, credential("system.pin"))

    def conflicts(self) -> int:
        return sum(len(files) for _, _, files in os.walk(self._config.state / "conflicts"))

    def owner(self, name: str) -> tuple[int, int]:
        """Who owns the partition's files: its own system user (made by `provision`)."""
        if name == SYSTEM:
            return 0, 0
        entry = pwd.getpwnam(user(name))
        return entry.pw_uid, entry.pw_gid
