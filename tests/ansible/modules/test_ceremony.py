"""The ceremony, and what an interruption of it leaves; rotation and rebuild as far as the controller does them."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import pytest

pytestmark = pytest.mark.exhaustive

UUID = "5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11"


def failure(code: str, exit_code: int) -> dict[str, Any]:
    words = {"what": f"the node says {code}", "not_done": "nothing", "next": "look"}
    return {"ok": False, "code": code, "exit_code": exit_code, **words}


class Ceremony:
    def __init__(self, playbook: Any, fake: Any, people: Any, directory: Path) -> None:
        self._playbook, self.fake, self.people = playbook, fake, people
        self.directory = directory / "keep/custody"

    def task(self, **more: Any) -> dict[str, Any]:
        options = {
            "name": "north",
            "uuid": UUID,
            "directory": str(self.directory),
            "custodians": self.people.declared,
            "threshold": 2,
            "command": str(self.fake.command),
        }
        return {"keyfold_ceremony": {**options, **more.pop("options", {})}, **more}

    def run(self, *tasks: dict[str, Any]) -> Any:
        return self._playbook.run(list(tasks))

    def begun(self) -> list[Path]:
        return sorted(self.directory.parent.glob("custody.begun-*"))

    def root_digest(self) -> str:
        return hashlib.sha256(self.people.root(self.directory).encode()).hexdigest()


@pytest.fixture
def ceremony(playbook: Any, fake: Any, people: Any, tmp_path: Path) -> Ceremony:
    fake.set(cluster=None)
    return Ceremony(playbook, fake, people, tmp_path)


def test_it_is_held_once_and_check_mode_agrees(ceremony: Ceremony) -> None:
    done = ceremony.run(
        ceremony.task(check_mode=True, register="first"),
        {"ansible.builtin.stat": {"path": str(ceremony.directory.parent)}, "register": "there"},
        ceremony.task(register="second"),
        ceremony.task(check_mode=True, register="third"),
        ceremony.task(register="fourth"),
        {
            "ansible.builtin.assert": {
                "that": [
                    "first is changed and not there.stat.exists",
                    "second is changed and third is not changed and fourth is not changed",
                    "second.cluster == fourth.cluster",
                ]
            }
        },
    )
    assert done.returncode == 0, done.stdout
    names = sorted(path.name for path in ceremony.directory.iterdir())
    assert names == ["custody.json", "share-1-of-3-ann.age", "share-2-of-3-ben.age", "share-3-of-3-cem.age"]
    assert ceremony.root_digest() == ceremony.fake.state["root_digest"]
    record = json.loads((ceremony.directory / "custody.json").read_text())
    assert {key: record[key] for key in ceremony.fake.state["cluster"]["custody"]} == ceremony.fake.state["cluster"][
        "custody"
    ]
    assert ceremony.begun() == []
    assert {path.stat().st_mode & 0o777 for path in ceremony.directory.iterdir()} == {0o600}


def test_shares_that_became_no_cluster_are_replaced(ceremony: Ceremony) -> None:
    ceremony.fake.set(failures=[failure("not_found", 3), failure("no_quorum", 5)])
    done = ceremony.run(ceremony.task())
    assert done.returncode != 0
    assert "the node says no_quorum" in done.stdout
    assert len(ceremony.begun()) == 1
    assert not ceremony.directory.exists()
    assert ceremony.run(ceremony.task()).returncode == 0
    assert ceremony.begun() == []
    assert ceremony.root_digest() == ceremony.fake.state["root_digest"]


def test_a_run_that_ended_after_the_founding_is_completed(ceremony: Ceremony) -> None:
    assert ceremony.run(ceremony.task()).returncode == 0
    fingerprint = ceremony.fake.state["cluster"]["custody"]["root_fingerprint"][:16]
    ceremony.directory.rename(ceremony.directory.with_name(f"custody.begun-{fingerprint}"))
    ceremony.directory.with_name("custody.begun-0000000000000000").mkdir()
    done = ceremony.run(
        ceremony.task(check_mode=True, register="first"),
        ceremony.task(register="second"),
        ceremony.task(register="third"),
        {"ansible.builtin.assert": {"that": "first is changed and second is changed and third is not changed"}},
    )
    assert done.returncode == 0, done.stdout
    assert ceremony.root_digest() == ceremony.fake.state["root_digest"]
    assert ceremony.begun() == []


def test_shares_of_another_ceremony_are_never_taken_for_the_clusters(ceremony: Ceremony) -> None:
    assert ceremony.run(ceremony.task()).returncode == 0
    stranger = ceremony.directory.with_name("custody.begun-0000000000000000")
    ceremony.directory.rename(stranger)
    done = ceremony.run(ceremony.task())
    assert done.returncode != 0
    assert "founded by a ceremony whose shares are not in" in done.stdout
    assert len(list(stranger.iterdir())) == 4


def test_a_lost_cluster_is_not_founded_anew(ceremony: Ceremony) -> None:
    assert ceremony.run(ceremony.task()).returncode == 0
    ceremony.fake.set(cluster=None)
    done = ceremony.run(ceremony.task())
    assert done.returncode != 0
    assert "playbooks/rebuild.yml" in done.stdout
    assert ceremony.fake.state["cluster"] is None


def test_another_cluster_is_refused(ceremony: Ceremony) -> None:
    ceremony.fake.set(cluster={"uuid": "11111111-1111-4111-8111-111111111111", "name": "south"})
    done = ceremony.run(ceremony.task())
    assert done.returncode != 0
    assert "etcd holds another cluster: south" in done.stdout
    assert not ceremony.directory.parent.exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"threshold": 4}, "4 of 3 shares cannot be made"),
        ({"threshold": 1}, "1 of 3 shares cannot be made"),
        ({"custodians": [{"name": "a", "recipient": "age1x"}, {"name": "a", "recipient": "age1y"}]}, "the same name"),
        (
            {"custodians": [{"name": "../a", "recipient": "age1x"}, {"name": "b", "recipient": "age1y"}]},
            "part of a file's",
        ),
        (
            {"custodians": [{"name": "a", "recipient": "AGE-SECRET-KEY-1"}, {"name": "b", "recipient": "age1y"}]},
            "neither an age nor",
        ),
        ({"custodians": [{"name": "a", "recipient": "age1x"}, {"name": "b", "recipient": "age1y"}]}, "age refuses"),
    ],
)
def test_bad_custodians_are_refused_before_a_cluster_is_founded(
    ceremony: Ceremony, options: dict[str, Any], said: str
) -> None:
    done = ceremony.run(ceremony.task(options=options))
    assert done.returncode != 0
    assert said in done.stdout
    assert "AGE-SECRET" not in done.stdout
    assert ceremony.fake.state["cluster"] is None
    assert not ceremony.directory.exists()


def test_a_bare_host_would_change(ceremony: Ceremony, tmp_path: Path) -> None:
    done = ceremony.run(
        ceremony.task(options={"command": str(tmp_path / "nothing")}, check_mode=True, register="first"),
        {"ansible.builtin.assert": {"that": "first is changed"}},
    )
    assert done.returncode == 0, done.stdout


def rotation(ceremony: Ceremony, files: list[Path], **more: Any) -> dict[str, Any]:
    options = {"share_files": [str(file) for file in files], "from_epoch": 1, "command": str(ceremony.fake.command)}
    return {"keyfold_backup_key": {**options, **more.pop("options", {})}, **more}


def test_a_rotation_needs_good_shares_and_check_mode_only_checks_them(ceremony: Ceremony, tmp_path: Path) -> None:
    assert ceremony.run(ceremony.task()).returncode == 0
    opened = {}
    for name, text in ceremony.people.sheets(ceremony.directory).items():
        opened[name] = tmp_path / f"{name}.txt"
        opened[name].write_text(text)
    few = ceremony.run(rotation(ceremony, [opened["ann"], opened["ann"]]))
    assert few.returncode != 0
    assert "ann.txt (share 1, ann's) is given twice" in few.stdout
    assert "too few shares: 1 good ones of the 2" in few.stdout
    sealed = ceremony.run(rotation(ceremony, [ceremony.directory / "share-1-of-3-ann.age", opened["ben"]]))
    assert "still sealed to its custodian" in sealed.stdout
    done = ceremony.run(
        rotation(ceremony, [opened["ann"], opened["cem"]], check_mode=True, register="first"),
        {"ansible.builtin.assert": {"that": "first is changed and first.cluster.backup_epoch == 1"}},
        rotation(ceremony, [opened["ann"], opened["cem"]], register="second"),
        {"ansible.builtin.assert": {"that": "second is changed and second.cluster.backup_epoch == 2"}},
    )
    assert done.returncode == 0, done.stdout
    assert ceremony.fake.state["rotated_with"] == ceremony.fake.state["root_digest"]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_rebuild_needs_the_clusters_own_shares_also_without_the_record(
    ceremony: Ceremony, tmp_path: Path, recorded: bool
) -> None:
    assert ceremony.run(ceremony.task()).returncode == 0
    custody = ceremony.fake.state["cluster"]["custody"]
    options = {
        "uuid": UUID,
        "share_files": [str(path) for path in sorted(ceremony.directory.glob("*.age"))[1:]],
        "identity_files": [str(ceremony.people.keys[name]) for name in ("ben", "cem")],
        "custody_file": str(ceremony.directory / "custody.json" if recorded else tmp_path / "lost.json"),
        "command": str(ceremony.fake.command),
    }
    assert "is alive on these nodes" in ceremony.run({"keyfold_rebuild": options}).stdout
    claims = {"share_identifier": custody["identifier"], "share_threshold": 2, "set_id": "s"}
    ceremony.fake.set(cluster=None, store=[{**claims, "root_fingerprint": custody["root_fingerprint"]}])
    done = ceremony.run(
        {"keyfold_rebuild": options, "check_mode": True, "register": "first"},
        {"keyfold_rebuild": options, "register": "second"},
        {"ansible.builtin.assert": {"that": "first is changed and second is changed and second.set_id == 'latest'"}},
    )
    assert done.returncode == 0, done.stdout
    assert ceremony.fake.state["rebuilt_with"] == ceremony.fake.state["root_digest"]
    if not recorded:
        ceremony.fake.set(store=[{**claims, "share_identifier": custody["identifier"] ^ 1, "root_fingerprint": "00"}])
        assert "is foreign" in ceremony.run({"keyfold_rebuild": options}).stdout
