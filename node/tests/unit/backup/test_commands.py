"""`keyfold backup` and `keyfold restore` from the command line to the replies of docs/interfaces.md §5."""

from __future__ import annotations

import argparse
import json
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.backup_site import BackupSite, make_site

from keyfold.commands import backup, restore
from keyfold.context import Context
from keyfold.errors import KeyfoldError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    site.agent.add_key("acme", 1, "signer", 3)
    site.agent.add_key("acme", 2, "signer", 2)
    for module in (backup, restore):
        monkeypatch.setattr(module, "reader", lambda _context: nullcontext(site.store))
    monkeypatch.setattr(backup, "writer", lambda _context: nullcontext(site.store))
    monkeypatch.setattr(backup, "sign_with_system", lambda _context, message, _epoch: site.agent.keys.sign(message))
    return site


def keyfold(site: BackupSite, *argv: str) -> tuple[dict[str, Any], str]:
    """(reply, what a person reads)."""
    top = argparse.ArgumentParser()
    commands = top.add_subparsers()
    for module in (backup, restore):
        module.register(commands)
    args = top.parse_args(argv)
    context = Context(site.config, site.agent, site.clock)  # type: ignore[arg-type]
    reply = args.run(args, context)
    return json.loads(json.dumps(reply)), args.render(reply)


def test_backup_run_replies_with_the_set(site: BackupSite) -> None:
    reply, text = keyfold(site, "backup", "run", "--json")
    made = reply["set"]
    assert (reply["changed"], made["sequence"], made["verified"], made["differences"]) == (True, 1, True, [])
    (entry,) = made["partitions"]
    assert sorted(entry) == ["ciphertext_sha256", "name", "objects", "size_bytes"]
    assert made["set_id"] in text
    assert "acme" in text


def test_backup_dry_run_replies_without_an_id(site: BackupSite) -> None:
    reply, text = keyfold(site, "backup", "run", "--dry-run", "--partition", "acme")
    assert reply["changed"] is False
    assert "set_id" not in reply["set"]
    assert [row["name"] for row in reply["set"]["partitions"]] == ["acme"]
    assert "would make set number 1" in text
    assert site.store.files() == {}


def test_backup_without_anything_to_do_says_so(site: BackupSite) -> None:
    del site.agent.partitions["acme"]
    reply, text = keyfold(site, "backup", "run")
    assert reply["changed"] is False
    assert "nothing to do" in text


def test_a_difference_is_shouted(site: BackupSite) -> None:
    site.agent.local["acme"] = {}
    _, text = keyfold(site, "backup", "run")
    assert "WARNING: acme/token.object is missing on this node" in text


def test_backup_list_and_verify_show_every_set(site: BackupSite) -> None:
    _, text = keyfold(site, "backup", "list")
    assert text == "the store has no backup set"
    made = keyfold(site, "backup", "run")[0]["set"]
    for argv in (["list"], ["verify"], ["verify", made["set_id"]]):
        reply, text = keyfold(site, "backup", *argv)
        (row,) = reply["sets"]
        assert (row["set_id"], row["verified"], row["problem"]) == (made["set_id"], True, None)
        assert "verified" in text


def test_backup_list_shows_a_damaged_set_and_verify_fails_on_it(site: BackupSite) -> None:
    made = keyfold(site, "backup", "run")[0]["set"]
    (name,) = [name for name in site.store.files() if name.endswith(".jsonl")]
    site.store.alter(name, lambda document: document[:-1])
    reply, text = keyfold(site, "backup", "list")
    assert reply["sets"][0]["verified"] is False
    assert reply["sets"][0]["problem"] in text
    with pytest.raises(KeyfoldError) as caught:
        keyfold(site, "backup", "verify")
    assert caught.value.exit_code == 8
    with pytest.raises(KeyfoldError) as caught:
        keyfold(site, "backup", "verify", "20200101T000000Z-00000000")
    assert caught.value.exit_code == 3
    assert made["set_id"] not in caught.value.what


def test_a_restore_is_drafted_previewed_and_applied_once(site: BackupSite, tmp_path: Path) -> None:
    made = keyfold(site, "backup", "run")[0]["set"]
    for file in [file for file in site.agent.partitions["acme"].live if file != "token.object"]:
        site.agent.destroy("acme", file)
    wanted = ["--partition", "acme", "--label", "signer", "--class", "private"]
    preview, text = keyfold(site, "restore", "preview", *wanted)
    assert (preview["changed"], preview["revision"], preview["set_id"]) == (False, None, made["set_id"])
    (step,) = preview["plan"]
    assert (step["action"], step["class"], step["label"], step["id"]) == ("reactivate", "private", "signer", "01")
    assert "PINs stay as they are" in text
    about = ("--ticket", "REQ-7", "--reason", "lost", "--requested-by", "ada")
    drafted, text = keyfold(site, "restore", "request", *wanted, *about)
    assert yaml.safe_load(text)["set"] == made["set_id"]
    (tmp_path / "r.yml").write_text(drafted["request"])
    of_request, _ = keyfold(site, "restore", "preview", "--request", str(tmp_path / "r.yml"))
    assert (of_request["plan"], of_request["ticket"]) == (preview["plan"], "REQ-7")
    applied, text = keyfold(site, "restore", "apply", "--request", str(tmp_path / "r.yml"))
    assert applied["changed"] is True
    assert (applied["plan"], applied["counts"]) == (preview["plan"], preview["counts"])
    assert applied["revision"] == site.agent.revision
    assert "Restore for ticket REQ-7" in text
    assert applied["record"]["ticket"] == "REQ-7"
    again, _ = keyfold(site, "restore", "apply", "--request", str(tmp_path / "r.yml"))
    assert (again["changed"], again["record"]) == (False, applied["record"])


def test_a_restore_without_a_request_is_no_command(site: BackupSite) -> None:
    with pytest.raises(SystemExit):
        keyfold(site, "restore", "apply", "--partition", "acme")


def test_a_node_outside_the_backup_site_says_where_to_go(site: BackupSite, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.undo()
    with pytest.raises(KeyfoldError, match="not in the backup site"):
        keyfold(site, "backup", "list")
