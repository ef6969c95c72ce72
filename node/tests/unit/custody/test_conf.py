from __future__ import annotations

import os
from pathlib import Path

import pytest

from keyfold.custody.create import write_softhsm2_conf
from keyfold.errors import KeyfoldError


def test_all_mechanisms_are_allowed_unless_listed(tmp_path: Path) -> None:
    conf = write_softhsm2_conf(tmp_path)
    assert conf.read_text(encoding="utf-8").splitlines() == [
        f"directories.tokendir = {tmp_path}/tokens",
        "objectstore.backend = file",
        "log.level = ERROR",
        "slots.removable = false",
    ]
    assert conf.stat().st_mode & 0o777 == 0o644


def test_a_strict_umask_does_not_hide_the_file_from_the_partition(tmp_path: Path) -> None:
    before = os.umask(0o077)
    try:
        conf = write_softhsm2_conf(tmp_path)
    finally:
        os.umask(before)
    assert conf.stat().st_mode & 0o777 == 0o644


def test_a_mechanism_list_replaces_the_file_whole(tmp_path: Path) -> None:
    write_softhsm2_conf(tmp_path)
    conf = write_softhsm2_conf(tmp_path, "CKM_ECDSA,CKM_RSA_PKCS")
    assert conf.read_text(encoding="utf-8").endswith("slots.mechanisms = CKM_ECDSA,CKM_RSA_PKCS\n")
    assert [entry.name for entry in tmp_path.iterdir()] == ["softhsm2.conf"]


def test_a_missing_directory_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(KeyfoldError) as caught:
        write_softhsm2_conf(tmp_path / "missing")
    assert caught.value.code == "disk"
