"""A partition's softhsm2.conf."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from keyfold.custody.disk import disk_errors

_MODE = 0o644


def write_softhsm2_conf(partition_dir: Path, mechanisms: str | None = None) -> Path:
    """Write `<partition_dir>/softhsm2.conf` (mode 0644), whole or not at all; nothing is written if it says so already.

    `mechanisms` is SoftHSM's slots.mechanisms, for example "CKM_RSA_PKCS,CKM_ECDSA"; None allows all. SoftHSM
    2.6.1 wants no blanks in it, and reads 1,023 bytes of a line (`keyfold.package`).
    """
    lines = [
        f"directories.tokendir = {partition_dir / 'tokens'}",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    ]
    if mechanisms is not None:
        lines.append(f"slots.mechanisms = {mechanisms}")
    text = "\n".join(lines) + "\n"
    conf = partition_dir / "softhsm2.conf"
    if _says(conf, text):
        return conf
    temporary = partition_dir / ".softhsm2.conf.new"
    with disk_errors(partition_dir):
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, _MODE)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, _MODE)
            file.write(text)
            file.flush()
            os.fsync(descriptor)
        temporary.rename(conf)
    return conf


def _says(conf: Path, text: str) -> bool:
    """Whether it is our own file and says so: its directory's owner may put another there."""
    try:
        descriptor = os.open(conf, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError:
        return False
    with os.fdopen(descriptor) as file:
        status = os.fstat(descriptor)
        ours = stat.S_ISREG(status.st_mode) and status.st_uid == os.geteuid() and stat.S_IMODE(status.st_mode) == _MODE
        return ours and status.st_nlink == 1 and file.read() == text
