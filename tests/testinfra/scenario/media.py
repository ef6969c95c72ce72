"""Media as the scenario's tests write and open them."""

from __future__ import annotations

from typing import Any

from scenario.cluster import Cluster, keyfold
from scenario.machines import Machine

STICK = "/dev/disk/by-id/usb-Keyfold_Lab_one-0:0"
OTHER_STICK = "/dev/disk/by-id/usb-Keyfold_Lab_two-0:0"

_OPEN = """
identity=$(mktemp)
python3 -c "
from keyfold.backup.recipient import decode_recipient, encode_identity, tag
print(encode_identity(tag(decode_recipient('{recipient}'))))" >$identity
for archive in /root/kept-medium/*.age; do age -d -i $identity $archive >/dev/null; done
"""


def write(cluster: Cluster, name: str, device: str, *options: str) -> dict[str, Any]:
    about = ("--partition", "acme", "--ticket", "CHG-0", "--reason", "a test")
    return keyfold(cluster.node("hsm3"), "media", "write", name, "--device", device, *about, *options)


def row(cluster: Cluster, name: str) -> dict[str, Any]:
    """The register's newest of that name."""
    rows = keyfold(cluster.node("hsm3"), "media", "list")["media"]
    return next(one for one in reversed(rows) if one["name"] == name)


def traces(node: Machine, medium: dict[str, Any]) -> str:
    """Files on the node in which the key's label stands: its object in the token, and what the agent knows of it."""
    label = f"keyfold-medium-{medium['id']}"
    return node.shell(f"grep -rlF {label} /var/lib/keyfold/partitions/system /var/lib/keyfold/agent || true")


def opens(node: Machine, recipient: str) -> bool:
    """Whether the stock age command opens, on this node, the archives that lie in /root/kept-medium."""
    return node.attempt("bash", "-euc", _OPEN.format(recipient=recipient)).returncode == 0
