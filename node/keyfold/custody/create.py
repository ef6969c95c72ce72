"""Make a partition's token and the cluster's system token, and read the data key, without loading SoftHSM here."""

from __future__ import annotations

import os
import secrets
import shutil
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from keyfold.custody.conf import write_softhsm2_conf
from keyfold.custody.disk import disk_errors
from keyfold.custody.pins import check_pin
from keyfold.custody.process import Request, run_worker
from keyfold.errors import KeyfoldError

__all__ = [
    "CreatedSystem",
    "NewToken",
    "create_partition_token",
    "create_partition_tokens",
    "create_system_token",
    "read_data_key",
    "write_softhsm2_conf",
]

SYSTEM_LABEL = "system"
_STAGING = ".creating"


@dataclass(frozen=True)
class CreatedSystem:
    """The system token: its directory's name under `tokens/`, and the public halves of its keys."""

    token_uuid: str
    backup_public_key: bytes
    signing_public_key: bytes
    audit_public_key: bytes


def create_partition_token(partition_dir: Path, name: str, uid: int, gid: int, so_pin: str, user_pin: str) -> str:
    """Initialise a token labelled `name`; returns its directory's name under `<partition_dir>/tokens/`.

    Writes softhsm2.conf if it is missing. The token appears whole, belonging to uid:gid, or not at all.
    KeyfoldError: invalid (a PIN; never repeated in the message), conflict (there is a token already), disk.
    """
    check_pin(user_pin, "the user PIN")
    check_pin(so_pin, "the SO PIN")
    with _staging(partition_dir) as staging:
        run_worker(
            {"op": "init", "conf": str(staging / "softhsm2.conf"), "label": name, "so_pin": so_pin, "pin": user_pin}
        )
        return _publish(staging, partition_dir, uid, gid)


@dataclass(frozen=True, slots=True)
class NewToken:
    """A token to make; the PINs are in no representation."""

    label: str
    so_pin: str = field(repr=False)
    pin: str = field(repr=False)


def create_partition_tokens(scratch: Path, wanted: Sequence[NewToken]) -> dict[str, Path]:
    """Label → directory of a new token below `scratch`, an empty directory of the caller's. All of them, or an error.

    One SoftHSM process makes them all: starting it takes ten times as long as making a token. It looks at every token
    in the directory for each new one, so keep to some dozens. Errors as `create_partition_token`.
    """
    for token in wanted:
        check_pin(token.pin, "the user PIN")
        check_pin(token.so_pin, "the SO PIN")
    with disk_errors(scratch):
        (scratch / "tokens").mkdir(mode=0o700)
    conf = write_softhsm2_conf(scratch)
    tokens = [{"label": token.label, "so_pin": token.so_pin, "pin": token.pin} for token in wanted]
    made: dict[str, str] = run_worker({"op": "init_many", "conf": str(conf), "tokens": tokens})["made"]
    return {label: scratch / "tokens" / directory for label, directory in made.items()}


def create_system_token(
    partition_dir: Path, uid: int, gid: int, pin: str, root: bytes, cluster_uuid: str
) -> CreatedSystem:
    """Initialise the token labelled `system` and import the keys derived from `root` (32 bytes, epoch 1).

    Its SO PIN is random and forgotten: nobody resets the PIN of the cluster's own keys. Errors as above.
    """
    check_pin(pin, "the system PIN")
    with _staging(partition_dir) as staging:
        token: Request = {"conf": str(staging / "softhsm2.conf"), "label": SYSTEM_LABEL, "pin": pin}
        run_worker({**token, "op": "init", "so_pin": secrets.token_hex(32)})
        keys = run_worker({**token, "op": "import", "root": root.hex(), "cluster_uuid": cluster_uuid, "epoch": 1})
        return CreatedSystem(
            token_uuid=_publish(staging, partition_dir, uid, gid),
            backup_public_key=bytes.fromhex(keys["backup_public_key"]),
            signing_public_key=bytes.fromhex(keys["signing_public_key"]),
            audit_public_key=bytes.fromhex(keys["audit_public_key"]),
        )


def read_data_key(partition_dir: Path, pin: str, epoch: int = 1) -> bytes:
    """32 bytes, computed inside the system token. KeyfoldError: denied (wrong PIN), not_found (no token or key)."""
    conf = str(partition_dir / "softhsm2.conf")
    reply = run_worker({"op": "data_key", "conf": conf, "label": SYSTEM_LABEL, "pin": pin, "epoch": epoch})
    return bytes.fromhex(reply["data_key"])


@contextmanager
def _staging(partition_dir: Path) -> Iterator[Path]:
    """A directory beside `tokens` to make the token in: what a crash leaves there is no token, and goes next time."""
    tokens = partition_dir / "tokens"
    if tokens.is_dir() and any(entry.is_dir() for entry in tokens.iterdir()):
        raise KeyfoldError(
            "conflict",
            f"there is a token in {tokens} already",
            not_done="no token was made",
            next_step="see which partition it belongs to: keyfold partition list",
        )
    if not (partition_dir / "softhsm2.conf").exists():
        write_softhsm2_conf(partition_dir)
    staging = partition_dir / _STAGING
    with disk_errors(partition_dir):
        shutil.rmtree(staging, ignore_errors=True)
        (staging / "tokens").mkdir(mode=0o700, parents=True)
    try:
        write_softhsm2_conf(staging)
        yield staging
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def _publish(staging: Path, partition_dir: Path, uid: int, gid: int) -> str:
    (made,) = (staging / "tokens").iterdir()
    tokens = partition_dir / "tokens"
    with disk_errors(partition_dir):
        tokens.mkdir(mode=0o700, exist_ok=True)
        for path in (*made.iterdir(), made, tokens):
            os.chown(path, uid, gid, follow_symlinks=False)
            _fsync(path)
        made.rename(tokens / made.name)
        _fsync(tokens)
    return made.name


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
