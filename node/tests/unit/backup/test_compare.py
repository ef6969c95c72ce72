"""`keyfold partition compare`: this node's files and what is committed."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import BackupSite, make_site

from keyfold.commands import partition
from keyfold.context import Context
from keyfold.errors import KeyfoldError


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    site.agent.add_key("acme", 1, "signer", 3)
    return site


def compare(site: BackupSite, *names: str) -> tuple[dict[str, Any], str]:
    top = argparse.ArgumentParser()
    partition.register(top.add_subparsers())
    args = top.parse_args(["partition", "compare", *names])
    reply = args.run(args, Context(site.config, site.agent, site.clock))  # type: ignore[arg-type]
    return dict(reply), args.render(reply)


def test_a_node_that_holds_what_is_committed_says_so(site: BackupSite) -> None:
    reply, text = compare(site)
    assert (reply["partitions"], reply["changed"]) == ({"acme": 2}, False)
    assert "acme: 2 objects" in text


def test_a_change_under_way_is_waited_for(site: BackupSite) -> None:
    site.agent.local["acme"] = {}
    site.agent.before["object_list"] = site.agent.local.clear
    assert compare(site, "acme")[0]["partitions"] == {"acme": 2}


def test_a_node_with_other_files_is_an_error_that_names_one(site: BackupSite) -> None:
    site.agent.local["acme"] = {"token.object": "other"}
    with pytest.raises(KeyfoldError, match="2 files on this node") as caught:
        compare(site, "acme")
    assert caught.value.code == "conflict"
