from __future__ import annotations

from typing import Any


def test_the_canary_is_made_once(run: Any, fake: Any) -> None:
    results = [run("keyfold_drill", state="prepared", check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"] == {"before": {}, "after": {"canary": "keyfold-canary"}}
    assert "diff" not in results[2]
    assert fake.calls[0] == ["drill", "prepare", "--dry-run"]


def test_check_mode_on_a_bare_host_says_that_the_canary_would_be_made(run: Any, tmp_path: Any) -> None:
    result = run("keyfold_drill", state="prepared", check=True, command=str(tmp_path / "absent"))
    assert result["changed"] is True
    assert run("keyfold_drill", state="prepared", command=str(tmp_path / "absent"))["failed"] is True


def test_check_mode_before_genesis_says_so_too(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "not_found", "exit_code": 3, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    assert run("keyfold_drill", state="prepared", check=True)["changed"] is True


def test_every_drill_is_a_change_and_check_mode_holds_none(run: Any, fake: Any) -> None:
    results = [run("keyfold_drill", check=check) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True] * 4
    assert ["drill" in result for result in results] == [False, True, False, True]
    assert fake.calls == [["drill", "run"]] * 2


def test_a_drill_that_does_not_pass_fails_the_play(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "refused", "exit_code": 8, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[{**refusal, "drill": {"passed": False}}])
    result = run("keyfold_drill")
    assert (result["failed"], result["code"], result["exit_code"]) == (True, "refused", 8)
