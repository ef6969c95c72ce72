"""Root works in directories that belong to the partitions' users."""

from __future__ import annotations

import json
import os
import pwd
import subprocess
from pathlib import Path

import pytest

from keyfold.provision import apply, plan


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(plan, "UNIT_DIRECTORY", tmp_path / "units")
    monkeypatch.setattr(plan, "SYSUSERS", tmp_path / "sysusers.conf")
    monkeypatch.setattr(plan, "HAPROXY", tmp_path / "absent" / "haproxy.cfg")
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0, "", ""))
    me = pwd.getpwuid(os.getuid())
    monkeypatch.setattr(pwd, "getpwnam", lambda _: me)
    (tmp_path / "agent").mkdir()
    rows = [{"name": "acme"}, {"name": "beta"}]
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
    apply.provision(state)
    assert str(victim) not in handed_over
    assert str(state / "partitions" / "beta" / "tokens") in handed_over


def test_a_directory_that_its_user_spoiled_does_not_keep_others_from_being_provisioned(
    state: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (state / "partitions" / "acme" / "softhsm2.conf").mkdir(parents=True)
    apply.provision(state)
    assert (state / "partitions" / "beta" / "softhsm2.conf").is_file()
    assert "partition acme: not provisioned" in capsys.readouterr().err
