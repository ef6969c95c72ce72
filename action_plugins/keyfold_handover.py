"""Ansible action: write the sealed first PINs of partitions on the controller.

The controller's half of library/keyfold_handover.py, which has the documentation and asks the node.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

ARGUMENT_SPEC: dict[str, Any] = {
    "partitions": {"type": "list", "elements": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "command": {"type": "path", "default": "/usr/bin/keyfold"},
}


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core has no types
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Ask the node only for those that have no file yet."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        directory = Path(options["directory"])
        missing = [name for name in options["partitions"] if not (directory / f"{name}.user.age").exists()]
        result |= {"changed": bool(missing), "written": missing, "without_so_pin": []}
        if not missing or self._task.check_mode:
            return result
        answer = self._execute_module(
            module_name="keyfold_handover",
            module_args={**options, "directory": str(directory), "partitions": missing},
            task_vars=task_vars,
        )
        if answer.get("failed"):
            return {**result, **answer, "changed": False}
        for name in missing:
            _keep(directory, name, answer["handover"][name])
        without = [name for name in missing if answer["handover"][name]["so"] is None]
        if without:
            result["warnings"] = [
                f"nobody has the SO PIN of {', '.join(without)}: no officer whose key age can seal to was declared"
            ]
        return {**result, "without_so_pin": without}


def _keep(directory: Path, name: str, sealed: Mapping[str, Any]) -> None:
    """The user's file last: it says that all is there."""
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        for which in ("so", "user"):
            if sealed[which] is not None:
                _write(directory / f"{name}.{which}.age", sealed[which])
    except OSError as error:
        raise AnsibleActionFail(
            f"the handover of partition {name} could not be written: {error}\n"
            f"Not done: {name} and those after it have no file in {directory}; the cluster keeps what is sealed\n"
            "Next: make room or correct the permissions, then run the playbook again"
        ) from None


def _write(path: Path, text: str) -> None:
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    draft.touch(mode=0o600)
    draft.write_text(text, encoding="ascii")
    draft.rename(path)
