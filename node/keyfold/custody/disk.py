"""A full or failing disk, said in Keyfold's words."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from keyfold.errors import KeyfoldError


@contextmanager
def disk_errors(partition_dir: Path) -> Iterator[None]:
    """Turn OSError into KeyfoldError(disk)."""
    try:
        yield
    except OSError as error:
        raise KeyfoldError(
            "disk",
            f"{partition_dir}: {error.strerror or error}",
            not_done="no token was made",
            next_step=f"look at the disk: df -h {partition_dir}; dmesg | tail",
        ) from error
