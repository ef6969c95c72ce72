from __future__ import annotations

from typing import Any

import pytest


@pytest.fixture
def partitions(fake: Any) -> None:
    fake.set(partitions={"acme": {}, "globex": {}})


@pytest.mark.usefixtures("partitions")
def test_every_run_makes_a_set_and_check_mode_makes_none(run: Any, fake: Any) -> None:
    results = [run("keyfold_backup", check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True] * 4
    assert [result["set"].get("set_id") for result in results] == [None, "set-1", None, "set-2"]
    assert results[0]["diff"] == {"before": {}, "after": {"acme": 3, "globex": 3}}
    assert len(fake.state["sets"]) == 2


@pytest.mark.usefixtures("partitions")
def test_only_the_named_partitions_are_backed_up(run: Any, fake: Any) -> None:
    result = run("keyfold_backup", partitions=["acme"])
    assert [row["name"] for row in result["set"]["partitions"]] == ["acme"]
    assert fake.calls == [["backup", "run", "--partition=acme"]]


@pytest.mark.usefixtures("partitions")
def test_sets_are_listed_newest_first(run: Any) -> None:
    run("keyfold_backup")
    run("keyfold_backup")
    result = run("keyfold_backup_info")
    assert result["changed"] is False
    assert [row["set_id"] for row in result["sets"]] == ["set-2", "set-1"]


@pytest.mark.parametrize("module", ["keyfold_backup", "keyfold_backup_info"])
def test_the_stores_error_reaches_the_operator_whole(run: Any, fake: Any, module: str) -> None:
    refusal = {"ok": False, "code": "store_error", "exit_code": 7, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    result = run(module)
    assert (result["msg"], result["code"], result["exit_code"]) == ("W\nNot done: N\nNext: X", "store_error", 7)
