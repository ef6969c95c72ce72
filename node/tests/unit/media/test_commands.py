"""`keyfold media`, and restores from a medium, from the command line to the replies of docs/interfaces.md §5."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import Any

import pytest
from support import approvals
from support.media_site import STICK, MediaSite, make_media_site

from keyfold.commands import media, restore, status
from keyfold.context import Context
from keyfold.errors import KeyfoldError

WRITE = ("write", "vault", "--device", STICK, "--partition", "acme", "--ticket", "CHG-1", "--reason", "maintenance")
DESTROY = ("destroy", "vault", "--ticket", "CHG-2", "--reason", "over")


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaSite:
    made = make_media_site(tmp_path, monkeypatch)
    made.agent.expirer.hourly()
    for module in (media, restore):
        monkeypatch.setattr(module, "block", lambda _context: made.block)
    monkeypatch.setattr(media, "sign_with_system", lambda _context, message, epoch: made.sign(message, epoch))
    return made


def keyfold(here: MediaSite, *argv: str) -> tuple[dict[str, Any], str]:
    """(reply, what a person reads)."""
    top = argparse.ArgumentParser()
    commands = top.add_subparsers()
    for module in (media, restore, status):
        module.register(commands)
    args = top.parse_args(argv)
    reply = args.run(args, Context(here.site.config, here.agent, here.clock))  # type: ignore[arg-type]
    return json.loads(json.dumps(reply)), args.render(reply)


def of_media(here: MediaSite, *argv: str) -> tuple[dict[str, Any], str]:
    return keyfold(here, "media", *argv)


def test_a_dry_run_shows_the_plan_and_the_run_makes_it(here: MediaSite) -> None:
    reply, text = of_media(here, *WRITE, "--dry-run")
    assert (reply["changed"], reply["medium"], here.media()) == (False, None, [])
    assert "would make medium vault" in text
    reply, text = of_media(here, *WRITE)
    assert (reply["changed"], reply["medium"]["state"], reply["medium"]["days_left"]) == (True, "active", 169)
    assert reply["plan"]["partitions"] == [
        {"name": "acme", "objects": 2, "size_bytes": reply["plan"]["partitions"][0]["size_bytes"]}
    ]
    assert "bring it to the vault" in text
    listed, text = of_media(here, "list")
    assert [row["id"] for row in listed["media"]] == [reply["medium"]["id"]]
    assert "active, 169 days left" in text


def test_a_medium_is_verified_by_name_and_by_id(here: MediaSite) -> None:
    made = of_media(here, *WRITE)[0]["medium"]
    for wanted in ("vault", made["id"]):
        reply, text = of_media(here, "verify", wanted)
        assert (reply["objects"], reply["set_id"]) == ({"acme": 2}, made["set_id"])
        assert "is whole and opens" in text
    with pytest.raises(KeyfoldError) as caught:
        of_media(here, "verify", "nothing")
    assert caught.value.code == "not_found"


def test_destruction_looks_acts_once_and_prints_the_certificate(here: MediaSite) -> None:
    of_media(here, *WRITE)
    reply, text = of_media(here, *DESTROY, "--dry-run")
    assert (reply["changed"], reply["would_change"], here.media()[0].lives) == (False, True, True)
    reply, text = of_media(here, *DESTROY)
    assert (reply["changed"], reply["outstanding"]) == (True, None)
    assert reply["medium"]["certificate"].rstrip() in text
    reply, text = of_media(here, *DESTROY)
    assert (reply["changed"], reply["would_change"]) == (False, False)
    assert "certified" in text
    with pytest.raises(KeyfoldError, match="is destroyed") as caught:
        of_media(here, "verify", "vault")
    assert caught.value.exit_code == 8


def test_what_is_left_to_do_makes_the_timers_unit_fail(here: MediaSite) -> None:
    of_media(here, *WRITE)
    assert of_media(here, "expire")[0]["changed"] is False
    here.pass_days(171)
    assert [one["action"] for one in of_media(here, "expire", "--dry-run")[0]["media"]] == ["destroy"]
    here.agent.down = {"hsm1"}
    reply, text = of_media(here, "expire")
    assert (reply["ok"], reply["exit_code"], reply["changed"]) == (False, 8, True)
    assert "hsm1" in reply["what"]
    assert "NOT DONE" in text
    here.agent.down = set()
    reply, text = of_media(here, "expire")
    assert "exit_code" not in reply
    assert reply["media"][0]["medium"]["certificate"].rstrip() in text
    assert of_media(here, "expire")[1] == "no medium lives"


def test_status_says_when_a_mediums_key_goes(here: MediaSite) -> None:
    assert "medium" not in keyfold(here, "status")[1]
    medium = of_media(here, *WRITE)[0]["medium"]
    assert "is destroyed in 169 days" in keyfold(here, "status")[1]
    here.pass_days(150)
    assert "is destroyed in 19 days: DUE SOON" in keyfold(here, "status")[1]
    here.agent.down = {"hsm1"}
    of_media(here, *DESTROY)
    assert "NOT CERTIFIED YET" in keyfold(here, "status")[1]
    assert medium["id"] in keyfold(here, "status")[1]


def request(here: MediaSite, *options: str) -> str:
    about = ("--partition", "acme", "--ticket", "REQ-1", "--reason", "-", "--requested-by", "x")
    return str(keyfold(here, "restore", "request", "--medium", "vault", *about, *options)[0]["request"])


def apply(here: MediaSite, text: str, monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    approval = approvals.approval(text.encode(), "ada", "grace")
    monkeypatch.setattr(restore, "standard_input", lambda: {"approval": approval})
    return keyfold(here, "restore", "apply", "--request", "-")[0]


def test_a_key_comes_back_from_a_medium_though_its_package_has_no_backups(
    here: MediaSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    medium = of_media(here, *WRITE)[0]["medium"]
    file = next(name for name in here.agent.partitions["acme"].live if name != "token.object")
    here.agent.destroy("acme", file)
    text = request(here)
    assert f"medium: {medium['id']}" in text
    preview = keyfold(here, "restore", "preview", "--medium", "vault", "--partition", "acme")[0]
    assert preview["counts"]["reactivate"] == 1
    monkeypatch.setattr("keyfold.restore.run.on_every_node", lambda *_: {})
    reply = apply(here, text, monkeypatch)
    assert (reply["changed"], reply["set_id"]) == (True, medium["set_id"])
    assert file in here.agent.partitions["acme"].live


def test_a_restore_from_a_damaged_or_destroyed_medium_is_refused_by_name(
    here: MediaSite, monkeypatch: pytest.MonkeyPatch
) -> None:
    of_media(here, *WRITE)
    text = request(here)
    remote = here.block.on(STICK)
    (archive,) = [name for name in remote.files() if name.endswith(".age")]
    whole = remote.files()[archive]
    remote.alter(archive, lambda content: content[:-1])
    with pytest.raises(KeyfoldError, match="cut short"):
        apply(here, text, monkeypatch)
    remote.alter(archive, lambda _: whole)
    of_media(here, *DESTROY)
    for act in (lambda: request(here), lambda: apply(here, text, monkeypatch)):
        with pytest.raises(KeyfoldError, match="is destroyed"):
            act()


def test_a_request_for_a_medium_is_not_served_from_the_store(here: MediaSite, monkeypatch: pytest.MonkeyPatch) -> None:
    of_media(here, *WRITE)
    text = request(here)
    monkeypatch.setattr(restore, "reader", lambda _context: pytest.fail("the store was asked"))
    monkeypatch.setattr("keyfold.restore.run.on_every_node", lambda *_: {})
    assert apply(here, text, monkeypatch)["changed"] is False
