"""Block devices in memory: what `keyfold.media.block` promises, and the faults real ones have."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace

from keyfold.errors import KeyfoldError
from keyfold.media.block import Block
from keyfold.media.device import Device, check_stable
from keyfold.remote import Remote
from keyfold.remote.memory import MemoryRemote


class MemoryBlock(Block):
    """`plug` adds a device; `files` is what is on it; `fail_format` is raised by the next `format`."""

    def __init__(self) -> None:
        self._devices: dict[str, Device] = {}
        self._on: dict[str, MemoryRemote] = {}
        self.fail_format: KeyfoldError | None = None

    def plug(self, device: Device) -> None:
        self._devices[device.stable] = device

    def on(self, stable: str) -> MemoryRemote:
        return self._on[stable]

    def look(self, stable: str) -> Device:
        check_stable(stable)
        if stable not in self._devices:
            raise KeyfoldError("not_found", f"there is no device {stable}", not_done="-", next_step="-")
        return self._devices[stable]

    def format(self, stable: str) -> None:
        device = self.look(stable)
        if self.fail_format is not None:
            raise self.fail_format
        self._devices[stable] = replace(device, holds=("ext4",))
        self._on[stable] = MemoryRemote()

    @contextmanager
    def opened(self, stable: str, *, writable: bool = False) -> Iterator[Remote]:
        device = self.look(stable)
        if device.mounts or stable not in self._on:
            raise KeyfoldError("refused", f"{stable} cannot be mounted", not_done="-", next_step="-")
        yield self._on[stable]
