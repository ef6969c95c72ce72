from __future__ import annotations

from typing import Any

import pytest

APPROVAL = {"request": "a2luZDogcHVyZ2UK", "signatures": ["-----BEGIN SSH SIGNATURE-----"]}
PRIVATE, PUBLIC, LIVE = "private.object", "public.object", "live.object"


def entry(file: str, object_class: int, label: str, key_id: str = "01") -> dict[str, Any]:
    return {
        "file": file,
        "object_class": object_class,
        "label": label.encode().hex(),
        "id": key_id,
        "size": 700,
        "created": "2026-01-01T00:00:00.000000Z",
        "invalidated_at": "" if file == LIVE else "2026-02-01T00:00:00.000000Z",
        "revision": 7,
    }


@pytest.fixture(autouse=True)
def _objects(fake: Any) -> None:
    fake.set(
        objects=[entry(PRIVATE, 3, "tls"), entry(PUBLIC, 2, "tls"), entry(LIVE, 4, "data", "02")],
        life={PRIVATE: "invalidated", PUBLIC: "invalidated", LIVE: "live"},
    )


@pytest.mark.parametrize("state", ["present", "absent"])
@pytest.mark.parametrize("selection", [{"labels": ["tls"]}, {"files": [PRIVATE, PUBLIC]}])
def test_it_changes_once_and_check_mode_agrees(run: Any, state: str, selection: dict[str, Any]) -> None:
    arguments = {"partition": "acme", "state": state, "approval": APPROVAL, **selection}
    results = [run("keyfold_object", check=check, **arguments) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["plan"] == results[1]["plan"]
    assert results[0]["diff"] == results[1]["diff"]
    assert results[0]["files"] == [PRIVATE, PUBLIC]
    assert results[0]["revision"] is None
    assert "diff" not in results[2]


def test_the_diff_says_what_becomes_of_each_object(run: Any) -> None:
    names = {f"class 3 tls {PRIVATE}", f"class 2 tls {PUBLIC}"}
    for state, after in (("present", "live"), ("absent", "gone")):
        difference = run("keyfold_object", check=True, partition="acme", state=state, labels=["tls"])["diff"]
        assert difference["before"] == dict.fromkeys(names, "invalidated")
        assert difference["after"] == dict.fromkeys(names, after)


def test_without_approval_it_is_refused_with_its_exit_code(run: Any, fake: Any) -> None:
    refused = run("keyfold_object", partition="acme", labels=["tls"])
    assert (refused["failed"], refused["code"], refused["exit_code"]) == (True, "unapproved", 13)
    assert fake.state["life"][PRIVATE] == "invalidated"


def test_the_approval_goes_over_standard_input_and_the_selection_as_it_was_given(run: Any, fake: Any) -> None:
    run("keyfold_object", partition="acme", files=[PRIVATE], with_public=False, approval=APPROVAL)
    assert fake.calls == [
        ["object", "reactivate", "acme", f"--file={PRIVATE}", "--without-public", "--approval=-"],
    ]
    assert fake.state["approval"] == APPROVAL
    assert fake.state["life"] == {PRIVATE: "live", PUBLIC: "invalidated", LIVE: "live"}


def test_without_a_selection_the_node_refuses(run: Any) -> None:
    for state in ("present", "absent"):
        result = run("keyfold_object", partition="acme", state=state, approval=APPROVAL)
        assert (result["failed"], result["code"]) == (True, "invalid")


def test_live_and_invalidated_objects_are_listed_apart(run: Any) -> None:
    kept = run("keyfold_object_info", partition="acme", invalidated=True)
    assert {row["file"] for row in kept["objects"]} == {PRIVATE, PUBLIC}
    live = run("keyfold_object_info", partition="acme")
    assert [row["file"] for row in live["objects"]] == [LIVE]
    assert not live["changed"]


def test_a_login_is_unlocked_once_and_check_mode_agrees(run: Any, fake: Any) -> None:
    fake.set(failed_logins=["user", "so"])
    results = [run("keyfold_login", check=check, partition="acme", user="so") for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == {"before": {"so": "failed logins"}, "after": {}}
    assert fake.state["failed_logins"] == ["user"]
    assert run("keyfold_login", partition="acme")["unlocked"] == ["user"]
