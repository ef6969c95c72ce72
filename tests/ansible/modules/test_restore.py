from __future__ import annotations

from typing import Any

import pytest

UNSIGNED: dict[str, Any] = {"request": "a2luZDogcmVzdG9yZQ==", "signatures": []}
SIGNED: dict[str, Any] = {**UNSIGNED, "signatures": ["-----BEGIN SSH SIGNATURE-----"]}


def backup_object(number: int, label: str, state: str) -> dict[str, Any]:
    return {
        "file": f"{number}.object",
        "class": "private",
        "label": label,
        "id": "01",
        "size": 770,
        "state": state,
    }


@pytest.fixture(autouse=True)
def _objects(fake: Any) -> None:
    states = ("missing", "invalidated", "live")
    fake.set(backup_objects=[backup_object(n, f"key-{state}", state) for n, state in enumerate(states)])


def test_restore_changes_once_and_its_preview_agrees(run: Any) -> None:
    results = [run("keyfold_restore", check=check, approval=SIGNED) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["plan"] == results[1]["plan"]
    assert results[0]["diff"] == results[1]["diff"]
    assert [result["revision"] for result in results] == [None, 10, None, 10]
    assert results[1]["report"] == "Restore for ticket REQ-1"


def test_diff_has_what_comes_back_and_what_it_was(run: Any) -> None:
    difference = run("keyfold_restore", check=True, approval=SIGNED)["diff"]
    assert difference["before"] == {
        "private key-missing 0.object": "missing",
        "private key-invalidated 1.object": "invalidated",
    }
    assert set(difference["after"].values()) == {"live"}


def test_preview_needs_no_signature_and_restores_nothing(run: Any, fake: Any) -> None:
    run("keyfold_restore", check=True, approval=UNSIGNED)
    assert [row["state"] for row in fake.state["backup_objects"]] == ["missing", "invalidated", "live"]


def test_what_nobody_signed_is_refused_in_the_nodes_words(run: Any, fake: Any) -> None:
    result = run("keyfold_restore", approval=UNSIGNED)
    assert (result["code"], result["exit_code"]) == ("unapproved", 13)
    assert "Next: ssh-keygen -Y sign" in result["msg"]
    assert [row["state"] for row in fake.state["backup_objects"]] == ["missing", "invalidated", "live"]


def test_the_request_reaches_the_node_over_standard_input(run: Any, fake: Any) -> None:
    run("keyfold_restore", approval=SIGNED)
    assert fake.calls == [["restore", "apply", "--request=-"]]
    assert fake.state["restored"] == [SIGNED["request"]]


def test_a_backup_of_another_cluster_is_refused_in_the_nodes_words(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "refused", "exit_code": 8, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    result = run("keyfold_restore", approval=SIGNED)
    assert (result["msg"], result["exit_code"]) == ("W\nNot done: N\nNext: X", 8)
