"""Root works in directories that belong to the partitions' users."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from collections.abc import Sequence
from pathlib import Path

import pytest

from keyfold.package import Package
from keyfold.provision import apply, plan

COMMANDS: list[list[str]] = []


def _systemd(command: Sequence[str], **_: object) -> subprocess.CompletedProcess[str]:
    """A systemd on which every socket that was started is active."""
    COMMANDS.append(list(command))
    said = ""
    if list(command[:2]) == ["systemctl", "is-active"]:
        started = {unit for one in COMMANDS if one[:2] == ["systemctl", "start"] for unit in one[2:]}
        said = "\n".join("active" if unit in started else "inactive" for unit in command[2:])
    return subprocess.CompletedProcess(list(command), 0, said, "")


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plan, "UNIT_DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(plan, "SYSUSERS", tmp_path / "sysusers.conf")
    monkeypatch.setattr(plan, "HAPROXY", tmp_path / "absent" / "haproxy.cfg")
    monkeypatch.setattr(subprocess, "run", _systemd)
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _: me)
    COMMANDS.clear()
    (tmp_path / "agent").mkdir()
    rows = [{"name": "acme", "package": "ECO"}, {"name": "beta", "package": "ECO"}]
    (tmp_path / "agent" / "partitions.json").write_text(json.dumps({"partitions": rows}))
    return tmp_path


def test_a_link_that_a_partitions_user_planted_does_not_hand_over_what_it_points_to(
    state: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    handed_over: list[str] = []

    def record(path: int | str | Path, uid: int, gid: int) -> None:
        handed_over.append(os.path.realpath(f"/proc/self/fd/{path}" if isinstance(path, int) else path))

    monkeypatch.setattr(os, "chown", record)
    monkeypatch.setattr(os, "fchown", record)
    victim = state / "victim"
    victim.mkdir()
    (state / "partitions" / "acme").mkdir(parents=True)
    (state / "partitions" / "acme" / "tokens").symlink_to(victim)
    apply.provision(state, {})
    assert str(victim) not in handed_over
    assert str(state / "partitions" / "beta" / "tokens") in handed_over


def test_a_directory_that_its_user_spoiled_does_not_keep_others_from_being_provisioned(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "partitions" / "acme" / "softhsm2.conf").mkdir(parents=True)
    apply.provision(state, {})
    assert (state / "partitions" / "beta" / "softhsm2.conf").is_file()
    assert "partition acme: not provisioned" in capsys.readouterr().err


def test_however_many_partitions_are_new_systemd_is_asked_once_for_all_of_them(state: Path) -> None:
    apply.provision(state, {})
    done = [" ".join(command[:2]) for command in COMMANDS]
    assert done == [
        "systemd-sysusers " + str(plan.SYSUSERS),
        "systemctl daemon-reload",
        "systemctl is-active",
        "systemctl start",
    ]
    assert COMMANDS[-1][2:] == ["keyfold-partition-acme.socket", "keyfold-partition-beta.socket"]


def test_a_second_run_changes_nothing_and_writes_no_file(state: Path) -> None:
    apply.provision(state, {})
    conf = state / "partitions" / "acme" / "softhsm2.conf"
    written = conf.stat().st_ino
    COMMANDS[:] = [command for command in COMMANDS if command[1] == "start"]
    assert apply.provision(state, {}) == []
    assert conf.stat().st_ino == written
    assert [command[1] for command in COMMANDS] == ["start", "is-active"]


def test_a_new_package_restarts_nothing(state: Path) -> None:
    apply.provision(state, {"ECO": Package("ECO", 1, "always", max_connections=3)})
    COMMANDS[:] = [command for command in COMMANDS if command[1] == "start"]
    changed = apply.provision(state, {"ECO": Package("ECO", 1, "always", max_connections=4)})
    assert [Path(path).name for path in changed] == ["keyfold-partition-acme.socket", "keyfold-partition-beta.socket"]
    assert [command[1] for command in COMMANDS] == ["start", "daemon-reload", "is-active"]


def test_a_softhsm2_conf_that_its_user_replaced_is_written_again(state: Path) -> None:
    apply.provision(state, {"ECO": Package("ECO", 1, "always", mechanisms=("CKM_ECDSA",))})
    conf = state / "partitions" / "acme" / "softhsm2.conf"
    text = conf.read_text()
    assert "slots.mechanisms = CKM_ECDSA\n" in text
    (state / "own.conf").write_text(text)
    conf.unlink()
    conf.symlink_to(state / "own.conf")
    apply.provision(state, {"ECO": Package("ECO", 1, "always", mechanisms=("CKM_ECDSA",))})
    assert not conf.is_symlink()
    assert conf.read_text() == text
