from __future__ import annotations

import base64
import json
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from ansible.errors import AnsibleError
from ansible.plugins.loader import lookup_loader

from .conftest import ROOT

lookup_loader.add_directory(str(ROOT / "lookup_plugins"))

ADA = {
    "name": "ada",
    "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB ada@laptop",
}
GRACE = {"name": "grace", "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAICAgICAgICAgICAgICAgICAgICAgICAgICAgICAgIC"}
BOTH = {"officers": [ADA, GRACE], "required": 2}
APPROVAL = {"request": "a2luZDogb2ZmaWNlcnMK", "signatures": ["-----BEGIN SSH SIGNATURE-----"]}


def test_officers_are_declared_once_and_check_mode_agrees(run: Any, fake: Any) -> None:
    results = [run("keyfold_officers", check=check, **BOTH) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["action"] for result in results] == ["create", "create", "none", "none"]
    assert results[0]["diff"] == results[1]["diff"]
    assert "diff" not in results[2]
    assert fake.calls[0] == ["officers", "apply", "--check"]


def test_a_change_without_approval_is_refused_with_its_exit_code(run: Any) -> None:
    run("keyfold_officers", **BOTH)
    weaker = {**BOTH, "required": 1}
    assert run("keyfold_officers", check=True, **weaker)["changed"]
    refused = run("keyfold_officers", **weaker)
    assert (refused["failed"], refused["code"], refused["exit_code"]) == (True, "unapproved", 13)
    assert "Next: ssh-keygen -Y sign" in refused["msg"]


def test_an_approval_reaches_the_node_over_standard_input_as_it_was_given(run: Any, fake: Any) -> None:
    run("keyfold_officers", **BOTH)
    done = run("keyfold_officers", officers=[ADA, GRACE], required=1, approval=APPROVAL)
    assert done["approved_by"] == ["ada", "grace"]
    assert fake.state["approval"] == APPROVAL
    assert APPROVAL["request"] not in fake.calls_log.read_text()


def test_on_a_bare_host_check_mode_takes_the_officers_to_be_new(run: Any, tmp_path: Path) -> None:
    result = run("keyfold_officers", check=True, command=str(tmp_path / "nothing"), **BOTH)
    assert (result["changed"], result["action"]) == (True, "create")


def look_up(name: str, *terms: str, **options: Any) -> Any:
    return lookup_loader.get(name).run(list(terms), **options)


def test_a_request_is_read_with_the_signatures_beside_it(tmp_path: Path) -> None:
    request = tmp_path / "stop.yml"
    request.write_bytes(b"kind: purge\r\n")
    for name in ("stop.yml.sig", "stop.yml.ada.sig", "stop.yml.ada.sig~", "other.yml.sig", "stop.yml.bak"):
        (tmp_path / name).write_text(name)
    (tmp_path / "elsewhere").write_text("elsewhere")
    (found,) = look_up("keyfold_approval", str(request), signatures=[str(tmp_path / "elsewhere")])
    assert base64.b64decode(found["request"]) == b"kind: purge\r\n"
    assert found["signatures"] == ["stop.yml.ada.sig", "stop.yml.sig", "elsewhere"]


@pytest.mark.parametrize("missing", ["nothing.yml", "no-directory/nothing.yml"])
def test_a_missing_request_is_named(tmp_path: Path, missing: str) -> None:
    with pytest.raises(AnsibleError, match="cannot be read") as caught:
        look_up("keyfold_approval", str(tmp_path / missing))
    assert "Next: give the request's file" in str(caught.value)


def test_a_file_that_is_no_request_is_not_read_whole(tmp_path: Path) -> None:
    (tmp_path / "huge.yml").write_bytes(bytes(300_000))
    with pytest.raises(AnsibleError, match="longer than"):
        look_up("keyfold_approval", str(tmp_path / "huge.yml"))


def test_throwaway_officers_are_made_once_even_for_many_hosts_at_a_time(tmp_path: Path) -> None:
    directory = tmp_path / "officers"
    # Ansible's loader is not for threads: Ansible itself forks. Each thread has an instance made before.
    lookups = [lookup_loader.get("keyfold_throwaway_officers") for _ in range(8)]

    def ask(number: int) -> Any:
        return lookups[number].run(["ada", "grace"], directory=str(directory))

    # Ansible's own loader is not made for threads: the plug-in is loaded before they begin.
    assert lookup_loader.get("keyfold_throwaway_officers") is not None
    with ThreadPoolExecutor(8) as pool:
        answers = list(pool.map(ask, range(8)))
    assert len({json.dumps(answer) for answer in answers}) == 1
    assert [row["name"] for row in answers[0]] == ["ada", "grace"]
    for row in answers[0]:
        private = directory / row["name"]
        assert private.stat().st_mode & 0o777 == 0o600
        derived = subprocess.run(["ssh-keygen", "-y", "-f", private], capture_output=True, text=True, check=True)
        assert derived.stdout.split()[:2] == row["key"].split()[:2]
