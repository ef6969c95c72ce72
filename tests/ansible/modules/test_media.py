from __future__ import annotations

from typing import Any

STICK = "/dev/disk/by-id/usb-Stick-0:0"
WISH = {"name": "vault", "device": STICK, "partitions": ["acme"], "ticket": "CHG-1", "reason": "a 'reason' of $two"}
ASKED = {"state": "absent", "name": "vault", "ticket": "CHG-2", "reason": "over"}


def test_a_medium_is_made_once(run: Any, fake: Any) -> None:
    results = [run("keyfold_media", check=check, **WISH) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    after = {"name": "vault", "device": STICK, "partitions": ["acme"]}
    assert results[0]["diff"] == results[1]["diff"] == {"before": {"on_the_device": ["gpt"]}, "after": after}
    assert [result["medium"] is None for result in results] == [True, False, False, False]
    assert "diff" not in results[2]
    writes = [call for call in fake.calls if call[1] == "write"]
    assert [("--dry-run" in call) for call in writes] == [True, False]
    assert "--reason=a 'reason' of $two" in writes[0]
    assert "--overwrite" not in writes[0]


def test_what_was_told_of_the_device_reaches_the_node(run: Any, fake: Any) -> None:
    run("keyfold_media", overwrite=True, allow_fixed=True, **WISH)
    assert {"--overwrite", "--allow-fixed"} <= set(fake.calls[-1])


def test_a_medium_is_destroyed_once(run: Any, fake: Any) -> None:
    run("keyfold_media", **WISH)
    results = [run("keyfold_media", check=check, **ASKED) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    gone = {"before": {"medium": "m-1", "key": "lives"}, "after": {"medium": "m-1", "key": "destroyed"}}
    assert results[0]["diff"] == results[1]["diff"] == gone
    assert results[3]["medium"]["certificate"] == "signed"


def test_a_destroyed_mediums_name_is_free_again(run: Any, fake: Any) -> None:
    run("keyfold_media", **WISH)
    run("keyfold_media", **ASKED)
    assert run("keyfold_media", **WISH)["changed"] is True


def test_a_device_that_is_refused_fails_with_its_reason(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "refused", "exit_code": 8, "what": "it is mounted", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    result = run("keyfold_media", **WISH)
    assert (result["failed"], result["code"], result["exit_code"]) == (True, "refused", 8)
    assert "it is mounted" in result["msg"]


def test_a_medium_without_a_device_is_refused_by_ansible(run: Any, fake: Any) -> None:
    assert run("keyfold_media", name="x", ticket="T", reason="R")["failed"] is True
    assert fake.calls == []


def test_the_register_is_read_and_a_medium_verified_in_any_mode(run: Any, fake: Any) -> None:
    run("keyfold_media", **WISH)
    for check in (True, False):
        result = run("keyfold_media_info", check=check)
        assert (result["changed"], result["verified"]) == (False, None)
        assert [row["name"] for row in result["media"]] == ["vault"]
        assert run("keyfold_media_info", check=check, verify="vault")["verified"] == {"acme": 3}
    refusal = {"ok": False, "code": "refused", "exit_code": 8, "what": "altered", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    assert run("keyfold_media_info", verify="vault")["failed"] is True
