"""The policy as the PKCS#11 module of a node's subscribers reads it: `/run/keyfold/policy/<partition>`.

16 bytes: the magic, a version, one byte of flags, zeros (docs/interfaces.md §7; `node/pkcs11/src/policy.h`). The flags
are one byte and are changed in place, so a process that has mapped the file sees a change with its next call, and never
half of one.
"""

from __future__ import annotations

import contextlib
import os
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from keyfold.errors import KeyfoldError

MAGIC = b"KEYFOLDP"
VERSION = 1
SIZE = 16
_FLAGS_AT = 9

# What the policy permits, from bit 0 on. key_invalidation, the quota and the lockout are the agent's to keep.
_FLAGS = (
    "key_import",
    "key_export",
    "key_extract",
    "write",
    "session_objects",
    "destroy_objects",
    "use_objects",
    "client_api_access",
)


def encode(policy: Mapping[str, Any]) -> bytes:
    """The file's content."""
    permitted = {**policy, "write": not policy["read_only"]}
    flags = sum(1 << bit for bit, name in enumerate(_FLAGS) if permitted[name] is True)
    return MAGIC + bytes([VERSION, flags]) + bytes(SIZE - _FLAGS_AT - 1)


def publish(directory: Path, rows: Iterable[Mapping[str, Any]]) -> list[str]:
    """Make the files of these partitions say what their rows do; the names of those that changed. Others stay.

    KeyfoldError `disk` if they cannot be written.
    """
    try:
        directory.mkdir(parents=True, exist_ok=True)
        directory.chmod(0o755)
        return [row["name"] for row in rows if _publish(directory / row["name"], encode(row["policy"]))]
    except OSError as error:
        raise KeyfoldError(
            "disk",
            f"{directory}: {error.strerror or error}",
            not_done="the policies are not all published on this node; what runs keeps those it had",
            next_step=f"look at the file system: df -h {directory}; then systemctl restart keyfold-agent",
        ) from error


def _publish(path: Path, content: bytes) -> bool:
    with contextlib.suppress(OSError), _opened(path) as descriptor:
        there = os.pread(descriptor, SIZE + 1, 0)
        sound = stat.S_IMODE(os.fstat(descriptor).st_mode) == 0o644
        if sound and there == content:
            return False
        if sound and len(there) == SIZE and there[:_FLAGS_AT] == content[:_FLAGS_AT]:
            os.pwrite(descriptor, content[_FLAGS_AT : _FLAGS_AT + 1], _FLAGS_AT)
            return True
    # Not there, or not ours: a new file, whole. Who has mapped another keeps that one until it starts again.
    fresh = path.with_name(f".{path.name}.new")
    fresh.unlink(missing_ok=True)
    fresh.write_bytes(content)
    fresh.chmod(0o644)
    fresh.rename(path)
    return True


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        yield descriptor
    finally:
        os.close(descriptor)
