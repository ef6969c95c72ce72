"""What is public of the cluster's own keys and of their custody: the cluster's row in etcd (docs/interfaces.md §4)."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from keyfold.backup.recipient import encode_recipient
from keyfold.errors import KeyfoldError

# The data key's; `backup_epoch` counts the backup and signing keys, which rotate on their own.
DATA_EPOCH = 1

_CUSTODY = {
    "identifier": int,
    "threshold": int,
    "shares": int,
    "root_fingerprint": str,
    "custodians": list,
    "created": str,
}


def fingerprint(public_key: bytes) -> str:
    return "SHA256:" + hashlib.sha256(public_key).hexdigest()


def backup_keys_row(backup_public_key: bytes, signing_public_key: bytes) -> dict[str, str]:
    """One epoch's public halves, as `cluster_info` spells them."""
    return {
        "backup_recipient": encode_recipient(backup_public_key),
        "backup_key_fingerprint": fingerprint(backup_public_key),
        "signing_public_key": signing_public_key.hex(),
        "signing_key_fingerprint": fingerprint(signing_public_key),
    }


def next_epoch(cluster: Mapping[str, Any], fresh: Mapping[str, str], now: str) -> dict[str, Any]:
    """The cluster's row when the keys `fresh` have taken over; those before them are kept as older ones."""
    epoch = backup_epoch(cluster)
    before = {"epoch": epoch, "replaced": now, "retired": "", **{key: cluster[key] for key in fresh}}
    return {**cluster, **fresh, "backup_epoch": epoch + 1, "older_backup_keys": [*older(cluster), before]}


def retired(cluster: Mapping[str, Any], epoch: int, now: str) -> dict[str, Any]:
    """The cluster's row when the private backup key of `epoch` is destroyed; its public keys go on verifying."""
    rows = [{**row, "retired": now} if row["epoch"] == epoch else row for row in older(cluster)]
    return {**cluster, "older_backup_keys": rows}


def backup_epoch(cluster: Mapping[str, Any]) -> int:
    """Clusters founded before backup keys could rotate have the first epoch."""
    return int(cluster.get("backup_epoch", 1))


def older(cluster: Mapping[str, Any]) -> list[dict[str, Any]]:
    return list(cluster.get("older_backup_keys", []))


def checked_custody(custody: object) -> dict[str, Any] | None:
    """The public record of a ceremony; None where there was none. KeyfoldError `invalid` for anything else."""
    if custody is None:
        return None
    if isinstance(custody, dict) and {key: type(value) for key, value in custody.items()} == _CUSTODY:
        return custody
    raise KeyfoldError(
        "invalid",
        "the record of the custody is not one that the ceremony makes",
        not_done="no cluster was founded",
        next_step="run playbooks/genesis.yml",
    )
