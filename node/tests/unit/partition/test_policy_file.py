"""The file the PKCS#11 module maps: its bytes, and that a change reaches who has it mapped."""

from __future__ import annotations

import mmap
import re
import stat
from pathlib import Path
from typing import Any

import pytest

from keyfold.partition.policy import DEFAULT_POLICY
from keyfold.partition.policy_file import MAGIC, SIZE, VERSION, encode, publish

HEADER = Path(__file__).parents[3] / "pkcs11" / "src" / "policy.h"
ALL = {**DEFAULT_POLICY, "key_export": True, "key_extract": True}


def row(**policy: bool) -> dict[str, Any]:
    return {"name": "acme", "policy": {**ALL, **policy}}


def test_the_bytes_are_those_of_the_module() -> None:
    header = HEADER.read_text(encoding="utf-8")
    assert f'#define POLICY_MAGIC "{MAGIC.decode()}"' in header
    assert f"#define POLICY_BYTES {SIZE}\n" in header
    assert f"#define POLICY_VERSION {VERSION}\n" in header
    assert "#define POLICY_VERSION_AT 8\n#define POLICY_FLAGS_AT 9\n" in header
    bits = {name.lower(): 1 << int(bit) for name, bit in re.findall(r"POLICY_(\w+) = 1 << (\d)", header)}
    assert encode(ALL) == b"KEYFOLDP\x01\xff" + bytes(6)
    for name, bit in bits.items():
        closed = {"read_only": True} if name == "write" else {name: False}
        assert encode({**ALL, **closed})[9] == 0xFF & ~bit
    assert len(bits) == 8


def test_the_default_policy_lets_no_key_out() -> None:
    assert encode(DEFAULT_POLICY)[9] == 0b11111001


def test_what_is_mapped_sees_the_change_in_place(tmp_path: Path) -> None:
    directory = tmp_path / "policy"
    assert publish(directory, [row()]) == ["acme"]
    with (directory / "acme").open("rb") as file, mmap.mmap(file.fileno(), SIZE, access=mmap.ACCESS_READ) as mapped:
        assert mapped[9] == 0xFF
        assert publish(directory, [row(use_objects=False)]) == ["acme"]
        assert mapped[9] == 0xFF & ~0x40
        assert publish(directory, [row(use_objects=False)]) == []


def test_anybody_may_read_and_root_alone_write(tmp_path: Path) -> None:
    directory = tmp_path / "policy"
    publish(directory, [row()])
    assert stat.S_IMODE(directory.stat().st_mode) == 0o755
    assert stat.S_IMODE((directory / "acme").stat().st_mode) == 0o644
    assert [path.name for path in directory.iterdir()] == ["acme"]


@pytest.mark.parametrize("spoilt", [b"", b"KEYFOLDP\x01", b"KEYFOLDP\x02\xff" + bytes(6), bytes(17)])
def test_a_spoilt_file_is_replaced_whole(tmp_path: Path, spoilt: bytes) -> None:
    (tmp_path / "acme").write_bytes(spoilt)
    assert publish(tmp_path, [row()]) == ["acme"]
    assert (tmp_path / "acme").read_bytes() == encode(ALL)


def test_a_file_others_could_write_is_replaced(tmp_path: Path) -> None:
    publish(tmp_path, [row()])
    (tmp_path / "acme").chmod(0o666)
    before = (tmp_path / "acme").stat().st_ino
    assert publish(tmp_path, [row()]) == ["acme"]
    assert (tmp_path / "acme").stat().st_ino != before
    assert stat.S_IMODE((tmp_path / "acme").stat().st_mode) == 0o644


def test_a_link_in_its_place_is_not_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(encode(ALL))
    target.chmod(0o644)
    (tmp_path / "acme").symlink_to(target)
    publish(tmp_path, [row(key_import=False)])
    assert target.read_bytes() == encode(ALL)
    assert not (tmp_path / "acme").is_symlink()


def test_files_of_other_partitions_stay(tmp_path: Path) -> None:
    publish(tmp_path, [row(), {"name": "beta", "policy": ALL}])
    publish(tmp_path, [row(key_import=False)])
    assert (tmp_path / "beta").read_bytes() == encode(ALL)
