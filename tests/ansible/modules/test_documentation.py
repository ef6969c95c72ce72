"""What ansible-doc shows of a module is what the module does."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from .conftest import ROOT, load

MODULES = [
    "keyfold_backup",
    "keyfold_backup_info",
    "keyfold_backup_key",
    "keyfold_ceremony",
    "keyfold_cluster_info",
    "keyfold_drill",
    "keyfold_genesis",
    "keyfold_login",
    "keyfold_media",
    "keyfold_media_info",
    "keyfold_object",
    "keyfold_object_info",
    "keyfold_officers",
    "keyfold_partition",
    "keyfold_rebuild",
    "keyfold_restore",
]
# They run on the controller: the work, and the argument spec, are in the action plugin of that name.
ACTIONS = ["keyfold_backup_key", "keyfold_ceremony", "keyfold_genesis", "keyfold_rebuild"]

OFFICER = {"name": "ada", "key": "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEBAQEB"}
LOOKUPS = ["keyfold_approval", "keyfold_genesis", "keyfold_throwaway_officers"]


def argument_spec(name: str) -> dict[str, Any]:
    """The module's own, or its action plugin's."""
    if name not in ACTIONS:
        return dict(load(name).ARGUMENT_SPEC)
    spec = importlib.util.spec_from_file_location(f"action_{name}", ROOT / "action_plugins" / f"{name}.py")
    assert spec is not None
    assert spec.loader is not None
    action = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(action)
    return dict(action.ARGUMENT_SPEC)


def described(options: Mapping[str, Any]) -> dict[str, Any]:
    """Documented options in the shape of an argument_spec; every one must be described."""
    rows: dict[str, Any] = {}
    for name, option in options.items():
        assert option["description"]
        row = {key: option[key] for key in ("type", "elements", "choices", "default", "required") if key in option}
        if "suboptions" in option:
            row["options"] = described(option["suboptions"])
        rows[name] = row
    return rows


def specified(options: Mapping[str, Any]) -> dict[str, Any]:
    """An argument_spec without what documentation does not show."""
    rows: dict[str, Any] = {}
    for name, option in options.items():
        row = {key: value for key, value in option.items() if key not in ("no_log", "options")}
        if "options" in option:
            row["options"] = specified(option["options"])
        rows[name] = row
    return rows


def ansible_doc(kind: str, names: list[str]) -> dict[str, Any]:
    """As it is rendered, with the fragments that it extends."""
    program = Path(sys.executable).with_name("ansible-doc")
    environment = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")}
    shown = subprocess.run(
        [program, "--json", "--type", kind, *names], env=environment, cwd=ROOT, capture_output=True, check=True
    )
    return dict(json.loads(shown.stdout))


@pytest.fixture(scope="module")
def modules() -> dict[str, Any]:
    return ansible_doc("module", MODULES)


@pytest.mark.parametrize("name", MODULES)
def test_documented_options_are_those_of_the_module(name: str, modules: dict[str, Any]) -> None:
    documentation = modules[name]["doc"]
    assert documentation["module"] == name
    assert described(documentation["options"]) == specified(argument_spec(name))


@pytest.mark.parametrize("name", MODULES)
def test_examples_pass_the_modules_own_check(name: str) -> None:
    from ansible.module_utils.common.arg_spec import ArgumentSpecValidator

    tasks = [task for task in yaml.safe_load(load(name).EXAMPLES) if name in task]
    assert tasks
    for task in tasks:
        assert task["name"][0].isupper()
        assert ArgumentSpecValidator(argument_spec(name)).validate(task[name] or {}).error_messages == []


def test_ansible_doc_renders_every_module_and_plugin(modules: dict[str, Any]) -> None:
    for name, entry in {**modules, **ansible_doc("lookup", LOOKUPS)}.items():
        assert entry["doc"]["description"], name
        assert entry["return"], name
        assert entry["examples"].strip(), name


@pytest.mark.parametrize("name", [name for name in MODULES if name not in ACTIONS])
def test_returned_keys_are_documented(name: str, run: Any, fake: Any) -> None:
    arguments: dict[str, dict[str, Any]] = {
        "keyfold_officers": {"officers": [OFFICER], "required": 1},
        "keyfold_object": {"partition": "acme", "labels": ["nothing"], "state": "absent"},
        "keyfold_object_info": {"partition": "acme"},
        "keyfold_login": {"partition": "acme"},
        "keyfold_media": {"name": "m", "device": "/dev/d", "partitions": ["acme"], "ticket": "T", "reason": "R"},
        "keyfold_partition": {"partitions": []},
        "keyfold_restore": {"approval": {"request": "cmVxdWVzdA==", "signatures": ["s"]}},
    }
    documented = set(yaml.safe_load(load(name).RETURN))
    done = run(name, **arguments.get(name, {}))
    fake.set(failures=[{"ok": False, "code": "disk", "exit_code": 9, "what": "W", "not_done": "N", "next": "X"}])
    failed = run(name, **arguments.get(name, {}))
    ansibles_own = {"changed", "failed", "msg", "invocation", "diff", "warnings", "exception"}
    assert (set(done) | set(failed)) - ansibles_own == documented
