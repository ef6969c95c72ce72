"""The modules run here in this process, against a fake `keyfold` command."""

from __future__ import annotations

import importlib.util
import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

from keyfold_shares import Entered, expected, recover, words_of

ROOT = Path(__file__).resolve().parents[3]
# As ansible.cfg does for ansible-playbook.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))

EMPTY: dict[str, Any] = {
    "cluster": {"uuid": "5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11", "name": "test", "epoch": 1},
    "quorum": True,
    "revision": 10,
    "partitions": {},
    "officers": None,
    "objects": [],
    "failed_logins": [],
    "nodes": [
        {"name": "hsm1", "agent": "up"},
        {"name": "hsm2", "agent": "up"},
        {"name": "hsm3", "agent": "down"},
    ],
    "sets": [],
    "backup_objects": [],
    "restored": [],
    "failures": [],
    "media": [],
    "lags": [],
}


class Fake:
    """The fake command in a directory of its own: its path, its cluster's state and how it was called."""

    def __init__(self, directory: Path) -> None:
        self.command = directory / "keyfold"
        self.command.write_text("#!/usr/bin/env python3\n" + (Path(__file__).parent / "fake_keyfold.py").read_text())
        self.command.chmod(stat.S_IRWXU)
        (directory / "node_path").write_text(str(ROOT / "node"))
        self._state = directory / "state.json"
        self.calls_log = directory / "calls.jsonl"
        self.calls_log.touch()
        self.set(**EMPTY)

    def set(self, **changes: Any) -> None:
        state = json.loads(self._state.read_text()) if self._state.exists() else {}
        self._state.write_text(json.dumps(state | changes))

    @property
    def state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads(self._state.read_text())
        return state

    @property
    def calls(self) -> list[list[str]]:
        """The arguments of every call so far, without the command and --json."""
        return [
            [word for word in json.loads(line)["argv"][1:] if word != "--json"]
            for line in self.calls_log.read_text().splitlines()
        ]


@pytest.fixture
def fake(tmp_path: Path) -> Fake:
    return Fake(tmp_path)


def load(name: str) -> ModuleType:
    """The module `library/<name>.py`."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "library" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(fake: Fake, capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a module as Ansible does, with --diff; returns what it printed."""

    def run_module(name: str, /, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        arguments = {"command": str(fake.command), **arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            load(name).main()
        result: dict[str, Any] = json.loads(capsys.readouterr().out)
        return result

    return run_module


class Playbook:
    """Runs plays with the real ansible-playbook, on localhost; temporary files and the log stay in `directory`."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    def run(self, tasks: list[dict[str, Any]], *options: str) -> subprocess.CompletedProcess[str]:
        play = {"name": "Test", "hosts": "localhost", "gather_facts": False, "tasks": tasks}
        path = self.directory / "play.json"
        path.write_text(json.dumps([play]))
        environment = {
            **{key: value for key, value in os.environ.items() if not key.startswith("ANSIBLE_")},
            "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg"),
            "ANSIBLE_LOCAL_TEMP": str(self.directory / "local_tmp"),
            "ANSIBLE_REMOTE_TMP": str(self.directory / "remote_tmp"),
            "ANSIBLE_LOG_PATH": str(self.directory / "ansible.log"),
            # The modules reach localhost through files, as they would without pipelining.
            "ANSIBLE_PIPELINING": "false",
        }
        variables = {"ansible_connection": "local", "ansible_python_interpreter": sys.executable}
        return subprocess.run(
            [
                Path(sys.executable).with_name("ansible-playbook"),
                path,
                "--inventory=localhost,",
                f"--extra-vars={json.dumps(variables)}",
                *options,
            ],
            env=environment,
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
        )


@pytest.fixture
def playbook(tmp_path: Path) -> Playbook:
    directory = tmp_path / "ansible"
    directory.mkdir()
    return Playbook(directory)


class People:
    """Custodians with age keys of their own; `shares` and `root` open what was sealed to them."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        self.keys = {name: directory / f"{name}.key" for name in ("ann", "ben", "cem")}
        self.declared = []
        for name, key in self.keys.items():
            made = subprocess.run(["age-keygen"], capture_output=True, text=True, check=True).stdout
            key.write_text(made)
            [recipient] = [line.split()[-1] for line in made.splitlines() if "public key" in line]
            self.declared.append({"name": name, "recipient": recipient})

    def sheets(self, custody: Path) -> dict[str, str]:
        opened = {}
        for sealed in sorted(custody.glob("*.age")):
            name = sealed.stem.split("-")[-1]
            command = ["age", "-d", "-i", self.keys[name], sealed]
            opened[name] = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return opened

    def shares(self, custody: Path) -> list[str]:
        return [" ".join(words_of(Entered(name, sheet))) for name, sheet in self.sheets(custody).items()]

    def root(self, custody: Path) -> str:
        record = json.loads((custody / "custody.json").read_text())
        entered = [Entered(name, sheet) for name, sheet in self.sheets(custody).items()]
        return recover(entered, expected(record["cluster_uuid"], record)).hex()


@pytest.fixture
def people(tmp_path: Path) -> People:
    return People(tmp_path / "people")
