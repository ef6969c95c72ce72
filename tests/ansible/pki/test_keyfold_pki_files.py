"""Installing certificates and keys on a host."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from keyfold_pki_x509 import Signer, dump_key, new_key, sign_authority

Install = Callable[..., dict[str, Any]]


@pytest.fixture(scope="module")
def key_pem() -> str:
    return dump_key(new_key()).decode()


@pytest.fixture(scope="module")
def certificate_pem() -> str:
    now, key = datetime.now(UTC), new_key()
    return sign_authority(Signer(None, key), key, "test", now, now + timedelta(days=1)).decode()


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "etc" / "pki"


@pytest.fixture
def install(run: Callable[..., dict[str, Any]], directory: Path) -> Install:
    def call(*files: dict[str, Any], check: bool = False) -> dict[str, Any]:
        return run("keyfold_pki_files", check=check, directory=str(directory), files=list(files))

    return call


def row(name: str, pem: str, **changes: Any) -> dict[str, Any]:
    """A file that belongs to whoever runs the tests."""
    owner, group = pwd.getpwuid(os.getuid()).pw_name, grp.getgrgid(os.getgid()).gr_name
    return {"name": name, "pem": pem, "owner": owner, "group": group, "mode": "0600", **changes}


def test_check_and_apply_agree_and_a_second_run_changes_nothing(
    install: Install, directory: Path, key_pem: str, certificate_pem: str
) -> None:
    files = row("tls.key", key_pem), row("tls.crt", certificate_pem, mode="0644")
    checked = install(*files, check=True)
    assert not directory.exists()
    applied = install(*files)
    assert checked["changed"] is applied["changed"] is True
    assert checked["installed"] == applied["installed"] == [str(directory / "tls.key"), str(directory / "tls.crt")]
    assert checked["diff"] == applied["diff"]
    assert install(*files, check=True)["changed"] is install(*files)["changed"] is False
    assert (directory / "tls.key").read_text() == key_pem
    assert [(directory / name).stat().st_mode & 0o777 for name in ("tls.key", "tls.crt")] == [0o600, 0o644]


def test_a_mode_that_was_changed_is_put_right(install: Install, directory: Path, key_pem: str) -> None:
    install(row("tls.key", key_pem))
    (directory / "tls.key").chmod(0o644)
    answer = install(row("tls.key", key_pem))
    assert answer["changed"] is True
    assert [answer["diff"][side][str(directory / "tls.key")]["mode"] for side in ("before", "after")] == [
        "0644",
        "0600",
    ]
    assert (directory / "tls.key").stat().st_mode & 0o777 == 0o600


def test_no_key_is_in_the_answer(install: Install, key_pem: str, certificate_pem: str) -> None:
    secret = key_pem.splitlines()[1]
    first = install(row("both.pem", certificate_pem + key_pem))
    second = install(row("both.pem", certificate_pem + dump_key(new_key()).decode()))
    assert secret not in first["printed"] + second["printed"]
    assert "PRIVATE KEY" not in first["printed"] + second["printed"]


def test_a_link_is_replaced_not_followed(install: Install, directory: Path, key_pem: str) -> None:
    target = directory.parent / "elsewhere"
    directory.mkdir(parents=True)
    target.write_text(key_pem)
    target.chmod(0o600)
    (directory / "tls.key").symlink_to(target)
    assert install(row("tls.key", key_pem))["changed"] is True
    assert not (directory / "tls.key").is_symlink()


def test_what_is_not_issued_yet_is_refused_outside_check_mode(install: Install, directory: Path, key_pem: str) -> None:
    files = row("tls.key", key_pem), row("tls.crt", "")
    assert install(*files, check=True)["diff"]["after"][str(directory / "tls.crt")]["content"] == "not issued yet"
    answer = install(*files)
    assert answer["failed"] is True
    assert "tls.crt" in answer["msg"]
    assert not directory.exists()


def test_an_owner_that_does_not_exist_yet_is_refused_outside_check_mode(
    install: Install, directory: Path, key_pem: str
) -> None:
    files = row("one.key", key_pem), row("two.key", key_pem, group="no-such-group")
    assert install(*files, check=True)["changed"] is True
    answer = install(*files)
    assert answer["failed"] is True
    assert "no-such-group" in answer["msg"]
    assert not directory.exists()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"mode": "u=rw"}, "not a mode"),
        ({"mode": "640x"}, "not a mode"),
        ({"name": "../tls.key"}, "not the name of a file"),
        ({"name": ".."}, "not the name of a file"),
    ],
)
def test_bad_arguments_are_refused(
    install: Install, directory: Path, key_pem: str, change: dict[str, str], message: str
) -> None:
    answer = install({**row("tls.key", key_pem), **change})
    assert answer["failed"] is True
    assert message in answer["msg"]
    assert not directory.exists()
