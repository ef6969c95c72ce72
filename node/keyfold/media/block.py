"""Block devices as media need them: looked at, formatted, mounted for a moment. Tests have a twin in memory."""

from __future__ import annotations

import json
import os
import subprocess
import tempfile
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.media.device import Device, check_stable
from keyfold.remote import Remote
from keyfold.remote.directory import DirectoryRemote

_COLUMNS = "PATH,TYPE,RM,HOTPLUG,RO,SIZE,MOUNTPOINTS"
_LABEL = "KEYFOLD"
_SECONDS = 600.0


class Block(ABC):
    """`stable`: a path below /dev/disk/by-id.

    KeyfoldError `invalid`: it is none; `not_found`: there is no such device; `disk`: it, or a command for it, failed.
    """

    @abstractmethod
    def look(self, stable: str) -> Device:
        """What is there, at this moment."""

    @abstractmethod
    def format(self, stable: str) -> None:
        """An empty ext4 file system on the whole device; what was on it is lost."""

    @abstractmethod
    def opened(self, stable: str, *, writable: bool = False) -> AbstractContextManager[Remote]:
        """The file system on it, read from the device and not from any cache; on it when the block ends.

        KeyfoldError `refused`: there is none that can be mounted, or it is mounted already.
        """


class SystemBlock(Block):
    """lsblk, wipefs, mkfs.ext4 and mount, as root. `run`: where mount points are made."""

    def __init__(self, run: Path) -> None:
        self._run = run

    def look(self, stable: str) -> Device:
        node = _resolved(stable)
        rows = json.loads(_command("lsblk", "--json", "--bytes", "--output", _COLUMNS, node))["blockdevices"]
        device, inside = rows[0], list(_below(rows[0]))
        found = _command("wipefs", "--no-act", "--json", "--output", "TYPE", node)
        signatures = json.loads(found)["signatures"] if found.strip() else []
        holds = [str(row["type"]) for row in signatures]
        holds += [str(row["path"]) for row in inside if row["type"] == "part"]
        return Device(
            stable=stable,
            node=node,
            kind=str(device["type"]),
            removable=bool(device["rm"] or device["hotplug"]),
            read_only=bool(device["ro"]),
            size_bytes=int(device["size"]),
            mounts=tuple(at for row in (device, *inside) for at in row["mountpoints"] if at),
            users=tuple(str(row["path"]) for row in inside if row["type"] != "part"),
            holds=tuple(holds),
        )

    def format(self, stable: str) -> None:
        node = _resolved(stable)
        _command("wipefs", "--all", node)
        _command("mkfs.ext4", "-q", "-F", "-m", "0", "-L", _LABEL, node)

    @contextmanager
    def opened(self, stable: str, *, writable: bool = False) -> Iterator[Remote]:
        device = self.look(stable)
        if device.mounts or "ext4" not in device.holds:
            reason = f"is mounted at {device.mounts[0]}" if device.mounts else "has no file system that media have"
            raise KeyfoldError(
                "refused",
                f"{stable} ({device.node}) {reason}",
                not_done="nothing on it was read or written",
                next_step="umount it, or plug in the right device: keyfold media list",
            )
        place = Path(tempfile.mkdtemp(dir=self._run, prefix="medium-"))
        options = "rw" if writable else "ro,noload"
        try:
            _command("mount", "-t", "ext4", "-o", f"{options},nosuid,nodev,noexec", device.node, str(place))
            try:
                yield DirectoryRemote(place)
            finally:
                _command("umount", str(place))
        finally:
            place.rmdir()


def _resolved(stable: str) -> str:
    check_stable(stable)
    try:
        node = os.path.realpath(stable, strict=True)
        if Path(node).is_block_device():
            return node
        reason = "it is not a block device"
    except OSError as error:
        reason = str(error.strerror)
    raise KeyfoldError(
        "not_found",
        f"there is no device {stable} on this node: {reason}",
        not_done="nothing was looked at or written",
        next_step="plug it in; ls -l /dev/disk/by-id shows what is there",
    )


def _below(row: Mapping[str, Any]) -> Iterator[Mapping[str, Any]]:
    for child in row.get("children", ()):
        yield child
        yield from _below(child)


def _command(*argv: str) -> str:
    """Its output; KeyfoldError `disk` with its last words."""
    try:
        done = subprocess.run(argv, capture_output=True, text=True, check=False, timeout=_SECONDS)
    except (OSError, subprocess.TimeoutExpired) as error:
        raise _failed(argv, str(error)) from error
    if done.returncode != 0:
        raise _failed(argv, done.stderr.strip().splitlines()[-1] if done.stderr.strip() else f"{done.returncode}")
    return done.stdout


def _failed(argv: tuple[str, ...], reason: str) -> KeyfoldError:
    return KeyfoldError(
        "disk",
        f"{argv[0]} failed on {argv[-1]}: {reason}",
        not_done="what is on the device does not count",
        next_step="dmesg | tail; use another device",
    )
