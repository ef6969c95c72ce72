"""What holds for every role: its defaults are its whole interface, its specs say the same, its README is fresh."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).resolve().parents[2]
ROLES = sorted(path for path in (ROOT / "roles").iterdir() if path.is_dir())

every_role = pytest.mark.parametrize("role", ROLES, ids=lambda role: role.name)

# How an argument spec's type shows in YAML. A template, which only Ansible can evaluate, may become any of them.
TYPES = {"str": str, "path": str, "raw": object, "int": int, "bool": bool, "float": float, "list": list, "dict": dict}


def load(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load(path.read_text()) or {}
    return loaded


def entry_points(role: Path) -> dict[str, Any]:
    specs: dict[str, Any] = load(role / "meta/argument_specs.yml")["argument_specs"]
    return specs


def options(role: Path) -> dict[str, Any]:
    """Every option of every entry point."""
    return {name: option for spec in entry_points(role).values() for name, option in spec.get("options", {}).items()}


def test_there_are_roles() -> None:
    assert {"pki", "etcd", "store", "access", "client"} <= {role.name for role in ROLES}


@every_role
def test_specs_and_defaults_have_the_same_variables(role: Path) -> None:
    optional = {name for name, option in options(role).items() if not option.get("required")}
    assert set(load(role / "defaults/main.yml")) == optional


@every_role
def test_a_default_is_declared_once(role: Path) -> None:
    assert [name for name, option in options(role).items() if "default" in option] == []


@every_role
def test_defaults_have_the_type_that_is_specified(role: Path) -> None:
    specified = options(role)
    wrong = {
        name: value
        for name, value in load(role / "defaults/main.yml").items()
        if not (isinstance(value, str) and "{{" in value)
        and not isinstance(value, TYPES[specified[name].get("type", "str")])
    }
    assert wrong == {}


@every_role
def test_variables_carry_the_roles_name(role: Path) -> None:
    assert [name for name in options(role) if not name.startswith(f"{role.name}_")] == []


@every_role
def test_durations_and_sizes_carry_their_unit(role: Path) -> None:
    bare = re.compile(r"(timeout|interval|delay|retention|size|wait|age|period)$")
    assert [name for name in options(role) if bare.search(name)] == []


@every_role
def test_every_default_has_a_comment(role: Path) -> None:
    lines = (role / "defaults/main.yml").read_text().splitlines()
    variables = [(number, line) for number, line in enumerate(lines) if re.match(r"[a-z]\w*:", line)]
    assert [line for number, line in variables if not _commented(lines, number)] == []


def _commented(lines: list[str], number: int) -> bool:
    """One comment may stand above several variables that belong together."""
    above = lines[number - 1]
    return above.startswith("#") or (bool(re.match(r"[a-z]\w*:", above)) and _commented(lines, number - 1))


@every_role
def test_every_entry_point_has_tasks(role: Path) -> None:
    assert [name for name in entry_points(role) if not (role / f"tasks/{name}.yml").exists()] == []


def test_readmes_are_what_the_specs_say() -> None:
    result = subprocess.run(
        [sys.executable, str(ROOT / "lab/role_readme.py"), "--check"], check=False, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr
