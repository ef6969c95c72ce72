from __future__ import annotations

from typing import Any

import pytest

TICKET = "REQ-4711"


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
    results = [
        run("keyfold_restore", check=check, partition="acme", ticket=TICKET) for check in (True, False, True, False)
    ]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["plan"] == results[1]["plan"]
    assert results[0]["diff"] == results[1]["diff"]
    assert [result["revision"] for result in results] == [None, 10, None, 10]


def test_diff_has_what_comes_back_and_what_it_was(run: Any) -> None:
    difference = run("keyfold_restore", check=True, partition="acme")["diff"]
    assert difference["before"] == {
        "private key-missing 0.object": "missing",
        "private key-invalidated 1.object": "invalidated",
    }
    assert set(difference["after"].values()) == {"live"}


def test_preview_needs_no_ticket_and_restores_nothing(run: Any, fake: Any) -> None:
    run("keyfold_restore", check=True, partition="acme")
    assert [row["state"] for row in fake.state["backup_objects"]] == ["missing", "invalidated", "live"]


@pytest.mark.parametrize("ticket", [None, ""])
def test_without_a_ticket_nothing_is_asked_of_the_node(run: Any, fake: Any, ticket: str | None) -> None:
    result = run("keyfold_restore", partition="acme", **({} if ticket is None else {"ticket": ticket}))
    assert (result["failed"], result["code"], result["exit_code"]) == (True, "invalid", 2)
    assert "acme" in result["msg"]
    assert fake.calls == []


def test_the_selection_and_the_ticket_reach_the_node(run: Any, fake: Any) -> None:
    run(
        "keyfold_restore",
        partition="acme",
        set="set-7",
        labels=["key-missing", "--json $HOME"],
        ids=["01", "ff"],
        object_class="private",
        ticket=TICKET,
    )
    assert fake.calls == [
        [
            "restore",
            "apply",
            "--partition=acme",
            "--set=set-7",
            "--label=key-missing",
            "--label=--json $HOME",
            "--id=01",
            "--id=ff",
            "--class=private",
            f"--ticket={TICKET}",
        ]
    ]
    assert fake.state["tickets"] == [TICKET]


def test_a_backup_of_another_cluster_is_refused_in_the_nodes_words(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "refused", "exit_code": 8, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    result = run("keyfold_restore", partition="acme", ticket=TICKET)
    assert (result["msg"], result["exit_code"]) == ("W\nNot done: N\nNext: X", 8)
