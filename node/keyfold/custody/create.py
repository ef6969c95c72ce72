"""Make a partition's token and the cluster's system token."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class CreatedSystem:
    """The system token: its directory's name under `tokens/`, and the public halves of its keys."""

    token_uuid: str
    backup_public_key: bytes
    signing_public_key: bytes


def write_softhsm2_conf(partition_dir: Path, mechanisms: str | None = None) -> Path:
    """Write `<partition_dir>/softhsm2.conf` (mode 0644); `mechanisms` is SoftHSM's slots.mechanisms, None for all."""
    raise NotImplementedError


def create_partition_token(partition_dir: Path, name: str, uid: int, gid: int, so_pin: str, user_pin: str) -> str:
    """Initialise a token labelled `name`; returns its directory's name under `<partition_dir>/tokens/`.

    Writes softhsm2.conf if it is missing. Everything below `tokens/` belongs to uid:gid afterwards.
    KeyfoldError: invalid (a PIN; never repeated in the message), conflict (there is a token already), disk.
    """
    raise NotImplementedError


def create_system_token(
    partition_dir: Path, uid: int, gid: int, pin: str, root: bytes, cluster_uuid: str
) -> CreatedSystem:
    """Initialise the token labelled `system` and import the keys derived from `root` (32 bytes, epoch 1)."""
    raise NotImplementedError


def read_data_key(partition_dir: Path, pin: str, epoch: int = 1) -> bytes:
    """32 bytes, computed inside the system token in a process of its own."""
    raise NotImplementedError
