"""Names a partition's user can give a file and SoftHSM never does."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyfold.token.inotify import Inotify
from keyfold.token.softhsm import SoftHsmDirectory

FOREIGN = [b".hidden.object", b"\xff.object", b"new\nline.object"]


@pytest.mark.parametrize("name", FOREIGN)
def test_a_name_that_cannot_be_softhsms_is_neither_listed_nor_reported(name: bytes, tmp_path: Path) -> None:
    watch = Inotify()
    try:
        watch.add(tmp_path, "acme")
        for file in (name, b"b.object"):
            (tmp_path / os.fsdecode(file)).write_bytes(b"x")
        assert {change.name for change in watch.drain()} == {"b.object"}
        assert list(SoftHsmDirectory(tmp_path, os.getuid(), os.getgid()).files()) == ["b.object"]
    finally:
        watch.close()
