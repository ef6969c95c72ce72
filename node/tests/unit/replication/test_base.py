"""The base on a disk that fails."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfold.errors import KeyfoldError
from keyfold.replication.base import Base, Row, open_base
from keyfold.replication.decide import Known
from keyfold.replication.sealed import StoredObject


def row(size: int) -> Row:
    return Row("a.object", Known(7, "digest"), StoredObject({}, bytes(size)))


def test_a_write_that_failed_is_told_and_the_next_one_works(tmp_path: Path) -> None:
    base = Base(tmp_path / "base.sqlite")
    unwritable = Row("b.object", Known(2**70, "digest"), None)
    with pytest.raises((KeyfoldError, OverflowError)):
        base.put("acme", [row(1), unwritable])
    base._db.execute("PRAGMA max_page_count=8")
    with pytest.raises(KeyfoldError) as caught:
        base.put("acme", [row(1_000_000)])
    assert caught.value.code == "disk"
    base._db.execute("PRAGMA max_page_count=1000000")
    base.put("acme", [row(1)])
    assert base.known("acme") == {"a.object": Known(7, "digest")}


def test_metadata_of_an_older_version_are_brought_into_the_form_of_an_archive(tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    base = Base(path)
    base.put("acme", [row(1)])
    base._db.execute("""UPDATE base SET meta = '{"label": "61", "class": 4}'""")
    base._db.execute("PRAGMA user_version=0")
    base.close()
    assert Base(path).listed("acme") == {"a.object": (7, "digest", '{"class":4,"label":"61"}')}


@pytest.mark.parametrize("at", [0, 4096])
def test_a_damaged_base_is_set_aside_and_begun_anew(at: int, tmp_path: Path) -> None:
    path = tmp_path / "base.sqlite"
    base = Base(path)
    base.put("acme", [row(50_000)])
    base.close()
    damaged = bytearray(path.read_bytes())
    damaged[at : at + 4096] = b"\xff" * 4096
    path.write_bytes(damaged)
    fresh = open_base(path)
    fresh.put("acme", [row(1)])
    assert fresh.known("acme") == {"a.object": Known(7, "digest")}
    assert (tmp_path / "base.sqlite.damaged").read_bytes() == damaged
