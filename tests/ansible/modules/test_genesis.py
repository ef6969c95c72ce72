from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret


@pytest.fixture
def password(tmp_path: Path) -> Path:
    path = tmp_path / "password"
    path.write_text("correct horse")
    return path


def seal(content: str, password: str) -> bytes:
    return bytes(VaultLib().encrypt(content, VaultSecret(password.encode())))


def task(path: Path, password: Path, **more: Any) -> dict[str, Any]:
    return {"name": "Genesis", "keyfold_genesis": {"path": str(path), "password_file": str(password)}, **more}


def test_the_file_is_made_once_and_check_mode_agrees(playbook: Any, password: Path, tmp_path: Path) -> None:
    path = tmp_path / "genesis.vault"
    unmade = {"ansible.builtin.stat": {"path": str(path)}, "register": "there"}
    checks = [
        "first is changed and first.cluster_uuid is none and not there.stat.exists",
        "second is changed and second.cluster_uuid | length == 36",
        "third is not changed and third.cluster_uuid == second.cluster_uuid",
        "fourth is not changed and fourth.cluster_uuid == second.cluster_uuid",
        "(fourth.keys() | sort) == ['changed', 'cluster_uuid', 'failed', 'path']",
    ]
    done = playbook.run(
        [
            task(path, password, check_mode=True, register="first"),
            unmade,
            task(path, password, register="second"),
            task(path, password, check_mode=True, register="third"),
            task(path, password, register="fourth"),
            {"ansible.builtin.assert": {"that": checks}},
        ]
    )
    assert done.returncode == 0, done.stdout


def test_foreign_files_are_refused_and_left_as_they_are(playbook: Any, password: Path, tmp_path: Path) -> None:
    short = json.dumps({"cluster_uuid": "x", "system_pin": "cd"})
    rooted = json.dumps({"cluster_uuid": "x", "root": "ab" * 32, "system_pin": "ab" * 32})
    foreign = {
        "not vault encrypted": b"cluster_uuid: plain\n",
        "Decryption failed": seal("{}", "another password"),
        "it holds something else than a cluster's genesis": seal("port: 22", "correct horse"),
        "something else than a cluster's genesis": seal(rooted, "correct horse"),
        "a secret in it is not 32 bytes in hex": seal(short, "correct horse"),
    }
    paths = {reason: tmp_path / f"{number}.vault" for number, reason in enumerate(foreign)}
    for reason, path in paths.items():
        path.write_bytes(foreign[reason])
    done = playbook.run([task(path, password, ignore_errors=True) for path in paths.values()])
    assert done.returncode == 0, done.stdout
    for reason, path in paths.items():
        said = done.stdout.partition(f"the genesis file {path} cannot be used: ")[2]
        first_line, _, rest = said.partition("\n")
        assert reason in first_line
        assert rest.lstrip().startswith("Not done: no secret of the cluster was read")
        assert path.read_bytes() == foreign[reason]


def test_without_a_password_nothing_is_made(playbook: Any, tmp_path: Path) -> None:
    path = tmp_path / "genesis.vault"
    done = playbook.run([task(path, tmp_path / "nothing")])
    assert done.returncode != 0
    assert "no cluster has been begun" in done.stdout
    assert list(tmp_path.glob("*genesis*")) == []


def test_a_given_uuid_is_used_and_another_clusters_file_is_refused(
    playbook: Any, password: Path, tmp_path: Path
) -> None:
    path = tmp_path / "genesis.vault"
    uuid, other = "5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11", "11111111-1111-4111-8111-111111111111"

    def given(wanted: str, **more: Any) -> dict[str, Any]:
        options = {"path": str(path), "password_file": str(password), "cluster_uuid": wanted}
        return {"name": "Genesis", "keyfold_genesis": options, **more}

    done = playbook.run(
        [
            given(uuid, check_mode=True, register="first"),
            given(uuid, register="second"),
            given(uuid, register="third"),
            {
                "ansible.builtin.assert": {
                    "that": [
                        f"first is changed and second is changed and second.cluster_uuid == '{uuid}'",
                        "first.cluster_uuid == second.cluster_uuid and third is not changed",
                    ]
                }
            },
            given(other),
        ]
    )
    assert done.returncode != 0
    assert f"is that of cluster {uuid}, not of {other}" in done.stdout
