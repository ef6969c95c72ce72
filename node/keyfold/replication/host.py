"""What replication needs of the machine it runs on; the real one is `keyfold.agent.machine`, tests bring a twin."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from keyfold.token.directory import TokenDirectory
from keyfold.token.locks import PartitionLocks


class Host(ABC):
    @abstractmethod
    def check_cluster(self, cluster: Mapping[str, Any]) -> None:
        """KeyfoldError `refused` if etcd belongs to another cluster than this node's configuration."""

    @abstractmethod
    def provision(self, rows: Sequence[Mapping[str, Any]]) -> None:
        """Users, directories and units for these partitions exist when this returns; cheap when nothing changed."""

    @abstractmethod
    def provisioned(self) -> Sequence[Mapping[str, Any]]:
        """The partitions last provisioned, also by an earlier agent: what is known while etcd does not answer."""

    @abstractmethod
    def open_partition(self, name: str, token_uuid: str) -> tuple[TokenDirectory, PartitionLocks]: ...

    @abstractmethod
    def watch(self, name: str, token_uuid: str, touched: Callable[[str], None]) -> None:
        """Call `touched` (from `drain`) with the name of each object file that changes in the token directory."""

    @abstractmethod
    def drain(self) -> None:
        """Deliver all pending changes now; a lost event is delivered as a change to every file."""

    @abstractmethod
    def wait_for_changes(self, timeout_seconds: float) -> bool:
        """Wait until `drain` has something, at most this long."""

    @abstractmethod
    def data_key(self, epoch: int) -> bytes:
        """The cluster's data key (32 bytes), out of the local system partition."""

    @abstractmethod
    def sign_audit(self, messages: Sequence[bytes], epoch: int) -> list[bytes]:
        """Ed25519 signatures (64 bytes) of the audit key in the local system partition; one thread at a time."""

    @abstractmethod
    def conflicts(self) -> int:
        """How many local changes that lost are kept on this node."""
