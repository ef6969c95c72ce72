"""Devices that must not become a medium, each refused by name; nothing is written, no key is made."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from scenario.application import Application
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.evidence import keep
from scenario.media import STICK, write

DIGEST = "ab" * 32


def test_the_subscribers_key_is_made_and_signs(cluster: Cluster, session: Callable[..., Application]) -> None:
    application = session()
    application.call("generate_pair", label="one")
    keep("signature", application.call("sign", label="one", digest=DIGEST))
    cluster.await_agreement()


@pytest.mark.parametrize(
    ("device", "options", "words"),
    [
        (STICK, (), "it is not removable"),
        ("/dev/loop0", ("--allow-fixed",), "not a stable name"),
        ("/dev/disk/by-id/../../loop0", ("--allow-fixed",), "not a stable name"),
        ("/dev/disk/by-id/usb-Nobody_has_this-0:0", ("--allow-fixed",), "there is no device"),
    ],
)
def test_a_device_that_is_not_told_of_is_refused(
    cluster: Cluster, device: str, options: tuple[str, ...], words: str
) -> None:
    with pytest.raises(CommandRefused, match=words):
        write(cluster, "refused", device, *options)


def test_a_file_system_and_a_mount_are_refused_and_kept(cluster: Cluster) -> None:
    node = cluster.node("hsm3")
    node.shell(f"mkfs.ext4 -q {STICK}; mkdir -p /mnt/stick; mount {STICK} /mnt/stick; echo precious >/mnt/stick/file")
    try:
        with pytest.raises(CommandRefused, match="mounted at /mnt/stick"):
            write(cluster, "refused", STICK, "--allow-fixed", "--overwrite")
    finally:
        node.run("umount", "/mnt/stick")
    with pytest.raises(CommandRefused, match="it holds ext4"):
        write(cluster, "refused", STICK, "--allow-fixed")
    assert node.shell(f"mount {STICK} /mnt/stick; cat /mnt/stick/file; umount /mnt/stick") == "precious\n"
    node.run("wipefs", "--all", STICK)


def test_other_sites_write_no_media(cluster: Cluster) -> None:
    with pytest.raises(CommandRefused, match="there is no device"):
        keyfold(
            cluster.nodes[0],
            "media",
            "write",
            "x",
            "--device",
            STICK,
            "--partition",
            "acme",
            "--ticket=T",
            "--reason=R",
        )


def test_nothing_was_made(cluster: Cluster) -> None:
    assert keyfold(cluster.node("hsm3"), "media", "list")["media"] == []
