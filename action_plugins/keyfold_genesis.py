"""Ansible action: make a cluster's sealed identity (UUID and system PIN), once, on the controller.

An action and not a module, because only the controller's Python has ansible-vault; the documentation is that of
library/keyfold_genesis.py.
"""

from __future__ import annotations

import json
import os
import secrets
from pathlib import Path
from typing import Any
from uuid import uuid4

from ansible.errors import AnsibleActionFail, AnsibleError
from ansible.parsing.vault import VaultLib, get_file_vault_secret
from ansible.plugins.action import ActionBase

ARGUMENT_SPEC: dict[str, Any] = {
    "path": {"type": "path", "required": True},
    "password_file": {"type": "path", "required": True, "no_log": False},
    "cluster_uuid": {"type": "str"},
}


class ActionModule(ActionBase):  # type: ignore[misc] # ansible-core has no types
    _requires_connection = False
    _supports_check_mode = True

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Look whether the file is there and usable; make it if there is none."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=ARGUMENT_SPEC)
        path = Path(options["path"])
        if path.exists():
            uuid, changed = self._opened(path, options["password_file"])["cluster_uuid"], False
            _require(path, uuid, options["cluster_uuid"])
        else:
            uuid, changed = options["cluster_uuid"] or str(uuid4()), True
            if not self._task.check_mode:
                self._make(path, options["password_file"], uuid)
        # Before there is a file there is no UUID: another run would draw another.
        known = options["cluster_uuid"] if changed and self._task.check_mode else uuid
        return {**result, "changed": changed, "path": str(path), "cluster_uuid": known}

    def _opened(self, path: Path, password_file: str) -> dict[str, str]:
        lookup = self._shared_loader_obj.lookup_loader.get(
            "keyfold_genesis", loader=self._loader, templar=self._templar
        )
        [genesis] = lookup.run([str(path)], password_file=password_file)
        return dict(genesis)

    def _make(self, path: Path, password_file: str, uuid: str) -> None:
        genesis = {"cluster_uuid": uuid, "system_pin": secrets.token_hex(32)}
        try:
            secret = get_file_vault_secret(password_file, loader=self._loader)
            secret.load()
            sealed = VaultLib().encrypt(json.dumps(genesis), secret)
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            _write_once(path, sealed)
        except (OSError, AnsibleError) as error:
            raise AnsibleActionFail(
                f"the genesis file {path} could not be made: {error}\n"
                "Not done: no cluster has been begun\n"
                f"Next: see that {password_file} holds a vault password and that the directory can be written"
            ) from None


def _require(path: Path, uuid: str, wanted: str | None) -> None:
    if wanted is not None and wanted != uuid:
        raise AnsibleActionFail(
            f"the genesis file {path} is that of cluster {uuid}, not of {wanted}\n"
            "Not done: nothing was changed\n"
            "Next: give the UUID on the share sheets of this cluster, or use that cluster's own controller directory"
        )


def _write_once(path: Path, content: bytes) -> None:
    """Whole or not at all, and never over another: the nodes of a living cluster have this PIN."""
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        draft.touch(mode=0o600, exist_ok=False)
        with draft.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.link(draft, path)
    finally:
        draft.unlink(missing_ok=True)
