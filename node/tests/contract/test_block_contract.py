"""What every Block promises (keyfold/media/block.py), on memory and on a loop device of this machine."""

from __future__ import annotations

import io
import os
import secrets
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from support.memory_block import MemoryBlock

from keyfold.errors import KeyfoldError
from keyfold.media.block import Block, SystemBlock
from keyfold.media.device import BY_ID, Device

SIZE = 32 << 20


@dataclass(frozen=True)
class Plugged:
    """`stable`: an empty device of SIZE bytes."""

    block: Block
    stable: str


@pytest.fixture(params=["memory", "loop"])
def plugged(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Plugged]:
    stable = f"{BY_ID}usb-Keyfold_Test_{secrets.token_hex(4)}-0:0"
    if request.param == "memory":
        block = MemoryBlock()
        block.plug(Device(stable, "/dev/sdz", "disk", removable=True, read_only=False, size_bytes=SIZE))
        yield Plugged(block, stable)
        return
    image = tmp_path / "stick.img"
    image.touch()
    os.truncate(image, SIZE)
    made = subprocess.run(["losetup", "--find", "--show", image], capture_output=True, text=True, check=False)
    if made.returncode != 0:
        pytest.skip(f"no loop device here: {made.stderr}")
    link = Path(stable)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.symlink_to(made.stdout.strip())
    try:
        yield Plugged(SystemBlock(tmp_path), stable)
    finally:
        link.unlink()
        subprocess.run(["losetup", "--detach", made.stdout.strip()], check=True)


def test_a_device_that_is_not_there_is_not_found(plugged: Plugged) -> None:
    for act in (plugged.block.look, plugged.block.format):
        with pytest.raises(KeyfoldError) as caught:
            act(f"{BY_ID}usb-Nobody_has_this-0:0")
        assert caught.value.code == "not_found"


def test_a_name_that_is_not_stable_is_invalid(plugged: Plugged) -> None:
    for act in (plugged.block.look, plugged.block.format):
        with pytest.raises(KeyfoldError) as caught:
            act("/dev/sdz")
        assert caught.value.code == "invalid"


def test_an_empty_device_holds_nothing_and_opens_as_nothing(plugged: Plugged) -> None:
    seen = plugged.block.look(plugged.stable)
    assert (seen.stable, seen.size_bytes, seen.holds, seen.mounts, seen.users) == (plugged.stable, SIZE, (), (), ())
    with pytest.raises(KeyfoldError) as caught, plugged.block.opened(plugged.stable):
        pytest.fail("opened")
    assert caught.value.code == "refused"


def test_what_was_written_is_there_when_it_is_opened_again(plugged: Plugged) -> None:
    plugged.block.format(plugged.stable)
    with plugged.block.opened(plugged.stable, writable=True) as remote:
        remote.make_collection("set")
        remote.put_new("set/a.age", io.BytesIO(b"sealed"), 6)
    assert plugged.block.look(plugged.stable).holds == ("ext4",)
    with plugged.block.opened(plugged.stable) as remote:
        assert [entry.name for entry in remote.list()] == ["set"]
        with remote.get("set/a.age") as chunks:
            assert b"".join(chunks) == b"sealed"
    assert plugged.block.look(plugged.stable).mounts == ()


def test_formatting_loses_what_was_there(plugged: Plugged) -> None:
    for _ in range(2):
        plugged.block.format(plugged.stable)
        with plugged.block.opened(plugged.stable, writable=True) as remote:
            assert remote.list() == ()
            remote.put_new("a", io.BytesIO(b"x"), 1)


def test_an_error_inside_leaves_nothing_mounted(plugged: Plugged) -> None:
    plugged.block.format(plugged.stable)
    with pytest.raises(RuntimeError), plugged.block.opened(plugged.stable):
        raise RuntimeError
    assert plugged.block.look(plugged.stable).mounts == ()
