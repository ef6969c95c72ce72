"""A partition's softhsm2.conf."""

from __future__ import annotations

import os
from pathlib import Path

from keyfold.custody.disk import disk_errors


def write_softhsm2_conf(partition_dir: Path, mechanisms: str | None = None) -> Path:
    """Write `<partition_dir>/softhsm2.conf` (mode 0644), whole or not at all.

    `mechanisms` is SoftHSM's slots.mechanisms, for example "CKM_RSA_PKCS,CKM_ECDSA"; None allows all.
    """
    lines = [
        f"directories.tokendir = {partition_dir / 'tokens'}",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    ]
    if mechanisms is not None:
        lines.append(f"slots.mechanisms = {mechanisms}")
    conf = partition_dir / "softhsm2.conf"
    temporary = partition_dir / ".softhsm2.conf.new"
    with disk_errors(partition_dir):
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
        with os.fdopen(descriptor, "w") as file:
            os.fchmod(descriptor, 0o644)
            file.write("\n".join(lines) + "\n")
            file.flush()
            os.fsync(descriptor)
        temporary.rename(conf)
    return conf
