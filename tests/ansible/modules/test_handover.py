"""What is sealed reaches the controller once, whole, and is never written over."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

ROWS = {"acme": {"package": "ECO"}, "globex": {"package": "ECO"}}


@pytest.fixture
def keep(playbook: Any, fake: Any, tmp_path: Path) -> Any:
    """Runs the action; the play's output, and whether it changed something."""

    def run(*options: str, partitions: tuple[str, ...] = ("acme", "globex")) -> tuple[str, bool]:
        arguments = {
            "partitions": list(partitions),
            "directory": str(tmp_path / "controller/handover"),
            "command": str(fake.command),
        }
        done = playbook.run([{"name": "Keep", "keyfold_handover": arguments}], *options)
        return done.stdout + done.stderr, "changed=1" in done.stdout

    fake.set(partitions=ROWS)
    return run


def test_check_and_apply_agree_and_a_second_run_asks_nobody(keep: Any, fake: Any, tmp_path: Path) -> None:
    assert [keep(*options)[1] for options in (["--check"], [], ["--check"], [])] == [True, True, False, False]
    assert fake.calls == [["partition", "handover", "acme", "globex"]]
    directory = tmp_path / "controller/handover"
    assert (directory / "acme.user.age").read_text() == "sealed for acme\n"
    assert (directory / "globex.so.age").read_text() == "sealed to officers\n"
    assert directory.stat().st_mode & 0o777 == 0o700
    assert {path.stat().st_mode & 0o777 for path in directory.iterdir()} == {0o600}


def test_check_mode_writes_nothing(keep: Any, fake: Any, tmp_path: Path) -> None:
    keep("--check")
    assert fake.calls == []
    assert not (tmp_path / "controller").exists()


def test_a_new_partition_is_fetched_alone_and_what_is_there_stays(keep: Any, fake: Any, tmp_path: Path) -> None:
    keep(partitions=("acme",))
    kept = tmp_path / "controller/handover/acme.user.age"
    kept.write_text("as it was handed over")
    assert keep()[1]
    assert fake.calls[-1] == ["partition", "handover", "globex"]
    assert kept.read_text() == "as it was handed over"


def test_an_so_pin_that_nobody_has_is_told(keep: Any, fake: Any, tmp_path: Path) -> None:
    fake.set(sealed_to=[])
    output, changed = keep()
    assert changed
    assert "nobody has the SO PIN of acme, globex" in " ".join(output.split())
    assert not list((tmp_path / "controller/handover").glob("*.so.age"))


def test_the_nodes_refusal_writes_nothing(keep: Any, fake: Any, tmp_path: Path) -> None:
    output, changed = keep(partitions=("acme", "nobody"))
    assert not changed
    assert "nothing for nobody" in output
    assert not (tmp_path / "controller").exists()
