"""`keyfold store check` from the command line to its reply, the record it leaves, and a backup that heeds it."""

from __future__ import annotations

import argparse
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import BackupSite, make_site
from support.webdav_server import Credentials, Wsgi, make_credentials, serve, webdav_app

from keyfold.commands import backup_store, store
from keyfold.config import StoreAccess
from keyfold.context import Context
from keyfold.errors import KeyfoldError


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    site: BackupSite = make_site(tmp_path, monkeypatch)
    files = make_credentials(tmp_path / "pki")
    access = StoreAccess("https://unused/", files.ca, files.cert, files.key, files.cert, files.key)
    return Context(replace(site.config, store=access), site.agent, site.clock)  # type: ignore[arg-type]


def check(context: Context, app: Wsgi) -> tuple[Context, dict[str, Any], str]:
    """(the context with the store's URL, reply, what a person reads)."""
    access = context.config.store
    assert access is not None
    with serve(app, Credentials(access.ca, access.writer_cert, access.writer_key)) as url:
        here = replace(context, config=replace(context.config, store=replace(access, url=url)))
        top = argparse.ArgumentParser()
        store.register(top.add_subparsers())
        args = top.parse_args(["store", "check"])
        reply = dict(args.run(args, here))
    return here, reply, args.render(reply)


def altering(app: Wsgi) -> Wsgi:
    """A server that gives back another first byte than it got."""

    def altered(environ: dict[str, Any], start_response: Any) -> Iterator[bytes]:
        body = b"".join(app(environ, start_response))
        yield b"!" + body[1:] if environ["REQUEST_METHOD"] == "GET" and body else body

    return altered


def test_a_usable_store_is_graded_recorded_and_used(context: Context, tmp_path: Path) -> None:
    (tmp_path / "dav").mkdir()
    here, reply, text = check(context, webdav_app(tmp_path / "dav"))
    assert (reply["verdict"], reply["write_once"], reply["left"]) == ("adapt", False, "")
    assert "exit_code" not in reply
    assert "whoever has the writer's identity can destroy backups" in text
    (kept,) = context.agent.call("record_list", kind="store_check")["records"].values()
    assert (kept["verdict"], kept["url"]) == ("adapt", reply["url"])
    backup_store.writer(here).close()


def test_a_store_that_alters_data_is_refused_and_no_run_uses_it(context: Context, tmp_path: Path) -> None:
    (tmp_path / "dav").mkdir()
    here, reply, text = check(context, altering(webdav_app(tmp_path / "dav")))
    assert (reply["ok"], reply["exit_code"], reply["verdict"]) == (False, 22, "refuse")
    assert "REFUSE" in text
    assert "loses or alters data" in text
    with pytest.raises(KeyfoldError) as caught:
        backup_store.writer(here)
    assert caught.value.code == "unfit"
    backup_store.reader(here).close()


@pytest.mark.parametrize("url", ["http://store1/keyfold/", "https://store1/keyfold", "store1", "https:///"])
def test_an_address_that_is_none_is_refused_before_anything_is_probed(context: Context, url: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        store._check(argparse.Namespace(url=url), context)
    assert caught.value.code == "invalid"
