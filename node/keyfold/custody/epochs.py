"""Backup keys of another epoch beside those a system token has: made, or destroyed, in a copy of the token.

The copy is of the object files alone, encrypted under the token's own PIN; what the worker changed among them is what
the cluster then commits, so that every node's token follows.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyfold.custody.conf import write_softhsm2_conf
from keyfold.custody.create import SYSTEM_LABEL
from keyfold.custody.disk import disk_errors
from keyfold.custody.process import Request, run_worker


@dataclass(frozen=True)
class AddedEpoch:
    """`files`: the new object files by name; the public halves of the new keys."""

    files: Mapping[str, bytes]
    backup_public_key: bytes
    signing_public_key: bytes


def add_backup_epoch(
    scratch: Path, files: Mapping[str, bytes], pin: str, root: bytes, cluster_uuid: str, epoch: int
) -> AddedEpoch:
    """Derive the backup and signing keys of `epoch` and import them. `scratch`: an empty directory, removed here.

    KeyfoldError: denied (PIN), disk.
    """
    with copied_token(scratch, files, pin) as (token, directory):
        reply = run_worker(
            {**token, "op": "import_backup", "root": root.hex(), "cluster_uuid": cluster_uuid, "epoch": epoch}
        )
        added = {path.name: path.read_bytes() for path in directory.glob("*.object") if path.name not in files}
    return AddedEpoch(added, bytes.fromhex(reply["backup_public_key"]), bytes.fromhex(reply["signing_public_key"]))


def backup_key_files(scratch: Path, files: Mapping[str, bytes], pin: str, epoch: int) -> frozenset[str]:
    """The files that hold the private backup key of `epoch`; only a copy loses them. Errors as above."""
    with copied_token(scratch, files, pin) as (token, directory):
        run_worker({**token, "op": "destroy_backup", "epoch": epoch})
        return frozenset(file for file in files if not (directory / file).exists())


@contextmanager
def copied_token(scratch: Path, files: Mapping[str, bytes], pin: str) -> Iterator[tuple[Request, Path]]:
    """The token (for `run_worker`) and its directory, while the block lasts; `scratch` goes with it."""
    directory = scratch / "tokens" / "00000000-0000-0000-0000-000000000000"
    try:
        with disk_errors(scratch):
            directory.mkdir(mode=0o700, parents=True)
            for name, data in files.items():
                (directory / name).write_bytes(data)
                # SoftHSM 2.6.1 destroys an object only where its lock file is there to be removed too.
                (directory / name).with_suffix(".lock").touch(mode=0o600)
        write_softhsm2_conf(scratch)
        yield {"conf": str(scratch / "softhsm2.conf"), "label": SYSTEM_LABEL, "pin": pin}, directory
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
