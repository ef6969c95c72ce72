"""The modules of the role pki run here in this process, as Ansible runs them; its plug-ins are loaded by path."""

from __future__ import annotations

import importlib.util
import json
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import ansible.module_utils
import pytest
from ansible.module_utils.testing import patch_module_args

ROOT = Path(__file__).resolve().parents[3]
# As ansible.cfg does for ansible-playbook.
ansible.module_utils.__path__.append(str(ROOT / "module_utils"))


def load(path: str) -> ModuleType:
    """The Python file `path` of this project."""
    spec = importlib.util.spec_from_file_location(Path(path).stem + "_under_test", ROOT / path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[spec.name] = module  # dataclasses look their module up
    spec.loader.exec_module(module)
    return module


Run = Callable[..., dict[str, Any]]


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a module with --diff; returns what it printed, with the text itself under `printed`."""

    def run_module(name: str, *, check: bool = False, **arguments: Any) -> dict[str, Any]:
        arguments = {**arguments, "_ansible_check_mode": check, "_ansible_diff": True}
        with patch_module_args(arguments), pytest.raises(SystemExit):
            load(f"library/{name}.py").main()
        printed = capsys.readouterr().out
        result: dict[str, Any] = json.loads(printed)
        return {**result, "printed": printed}

    return run_module


@pytest.fixture
def load_plugin() -> Callable[[str], ModuleType]:
    """Load a plug-in of the role pki."""
    return lambda path: load(f"roles/pki/{path}")
