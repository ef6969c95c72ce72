"""Whether a device may become a medium: decided over what the system says of it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from keyfold.errors import KeyfoldError

BY_ID = "/dev/disk/by-id/"
# Mounted here, it is what this machine runs from.
_SYSTEM = frozenset({"/", "/boot", "/boot/efi", "/usr", "/var", "/var/lib/keyfold", "/var/lib/etcd", "/home", "[SWAP]"})
_KINDS = ("disk", "loop")
# ext4's own needs, and room for the manifest and the README.
_OVERHEAD_BYTES = 8 << 20


@dataclass(frozen=True, slots=True)
class Device:
    """A block device as lsblk and wipefs see it. `stable`: its path below /dev/disk/by-id; `node`: what that points to.

    `kind`: lsblk's TYPE; `removable`: it can be pulled out, so says the kernel (RM or HOTPLUG). `mounts`: where it, or
    anything on it, is mounted, swap included; `users`: what else sits on it (crypt, lvm, raid). `holds`: signatures of
    partition tables and file systems on it.
    """

    stable: str
    node: str
    kind: str
    removable: bool
    read_only: bool
    size_bytes: int
    mounts: tuple[str, ...] = ()
    users: tuple[str, ...] = ()
    holds: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Allowed:
    """What a person has told: that what is on the device may go; that the device need not be removable."""

    overwrite: bool = False
    fixed: bool = False


def check_stable(path: str) -> None:
    """KeyfoldError `invalid` unless it is a name below /dev/disk/by-id: /dev/sdX is another disk after a boot."""
    name = path.removeprefix(BY_ID)
    if name == path or not name or "/" in name or name in (".", ".."):
        raise KeyfoldError(
            "invalid",
            f"{path} is not a stable name of a device",
            not_done="nothing was looked at or written",
            next_step=f"ls -l {BY_ID} on this node, and give the name there",
        )


def check(device: Device, needed_bytes: int, allowed: Allowed) -> None:
    """KeyfoldError `refused` with every reason why it must not become a medium."""
    reasons = [*_always(device, needed_bytes), *_untold(device, allowed)]
    if reasons:
        raise KeyfoldError(
            "refused",
            f"{device.stable} ({device.node}) is not written: {'; '.join(reasons)}",
            not_done="nothing was written, no key was made",
            next_step="use another device, or tell it that this one is meant (docs/runbooks/media_write.md)",
        )


def _always(device: Device, needed_bytes: int) -> list[str]:
    found = []
    if device.kind not in _KINDS:
        found.append(f"it is a {device.kind}, not a whole disk")
    if system := sorted(_SYSTEM & set(device.mounts)):
        found.append(f"this machine runs from it ({', '.join(system)})")
    if others := sorted(set(device.mounts) - _SYSTEM):
        found.append(f"it is mounted at {', '.join(others)}")
    if device.users:
        found.append(f"it is in use by {', '.join(device.users)}")
    if device.read_only:
        found.append("it is write-protected")
    if device.size_bytes < needed_bytes + _OVERHEAD_BYTES:
        found.append(f"it has {device.size_bytes} bytes, {needed_bytes + _OVERHEAD_BYTES} are needed")
    return found


def _untold(device: Device, allowed: Allowed) -> list[str]:
    found = []
    if device.holds and not allowed.overwrite:
        found.append(f"it holds {', '.join(device.holds)} (--overwrite, if that may go)")
    if not device.removable and not allowed.fixed:
        found.append("it is not removable (--allow-fixed, if it is the one)")
    return found
