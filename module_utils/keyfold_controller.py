"""What the custody's action plugins share: the node's command over standard input, custody records, the share files.

On the controller only. The root goes from this process to the node's command over standard input; unlike a module's
options it is in no temporary file on the way.
"""

from __future__ import annotations

import json
import shlex
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase

from keyfold_shares import Entered, Expected, ShareError, recover

SHARE_OPTIONS: dict[str, Any] = {
    "share_files": {"type": "list", "elements": "path", "required": True},
    "identity_files": {"type": "list", "elements": "path", "default": []},
}

_AGE_HEADER = b"age-encryption.org/v1\n"
_AGE_ARMOR = b"-----BEGIN AGE ENCRYPTED FILE-----"


class ControllerError(Exception):
    """As KeyfoldError: `what` happened, what was `not_done`, the `next_step`; `code` of docs/interfaces.md §6."""

    def __init__(self, what: str, *, not_done: str, next_step: str, code: str = "invalid") -> None:
        super().__init__(f"{what}\nNot done: {not_done}\nNext: {next_step}")
        self.code = code


class NodeAction(ActionBase):  # type: ignore[misc] # ansible-core has no types
    """What runs on the controller and asks a node's command: `act` says what; check mode is its own to keep."""

    _supports_check_mode = True
    argument_spec: ClassVar[Mapping[str, Any]]

    def act(self, node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """The result, `changed` in it. A ControllerError is what the task fails with."""
        raise NotImplementedError

    def run(self, tmp: None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """As Ansible has it."""
        result: dict[str, Any] = super().run(tmp, task_vars)
        _, options = self.validate_argument_spec(argument_spec=self.argument_spec)
        try:
            node = Node(self._low_level_execute_command, options["command"])
            return {**result, **self.act(node, options, check=self._task.check_mode)}
        except ControllerError as error:
            raise AnsibleActionFail(str(error)) from None


class Node:
    """`execute` is the action's `_low_level_execute_command`."""

    def __init__(self, execute: Callable[..., Mapping[str, Any]], command: str) -> None:
        self._execute = execute
        self._command = command

    def run(self, arguments: Sequence[str], secrets: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The command's JSON answer; ControllerError with the node's own words if it refuses."""
        line = shlex.join([self._command, *arguments, "--json"])
        sent = None if secrets is None else json.dumps(secrets).encode()
        done = self._execute(line, in_data=sent)
        try:
            answer = json.loads(done["stdout"])
            ok = answer["ok"] is True and done["rc"] == 0
        except (ValueError, KeyError, TypeError):
            # The shell's own words for a command that is not there; they repeat nothing of standard input.
            raise ControllerError(
                f"{self._command} {' '.join(arguments)} ended with status {done.get('rc')} and no JSON answer",
                not_done="the outcome is unknown",
                next_step="journalctl -u keyfold-agent on this node; then run the playbook again",
                code="missing" if done.get("rc") == 127 else "internal",
            ) from None
        if not ok:
            raise ControllerError(
                str(answer["what"]),
                not_done=str(answer["not_done"]),
                next_step=str(answer["next"]),
                code=answer["code"],
            )
        return dict(answer)

    def cluster(self) -> dict[str, Any] | None:
        """The cluster's row; None before genesis and on a bare host."""
        try:
            cluster: dict[str, Any] = self.run(["cluster", "info"])["cluster"]
        except ControllerError as error:
            if error.code in ("not_found", "missing"):
                return None
            raise
        return cluster


def age(arguments: Sequence[str], data: bytes, not_done: str) -> bytes:
    """What the stock age command makes of `data`; secrets go in and out through pipes only."""
    try:
        done = subprocess.run(["age", *arguments], input=data, capture_output=True, check=False)
    except FileNotFoundError:
        raise ControllerError(
            "the command age is not installed on the controller", not_done=not_done, next_step="apt-get install age"
        ) from None
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()
        raise ControllerError(
            f"age refuses: {said[0] if said else 'no reason given'}",
            not_done=not_done,
            next_step="check the recipients (age1… or ssh-ed25519 …) and the identity files",
        )
    return done.stdout


def entered(paths: Sequence[str], identities: Sequence[str]) -> list[Entered]:
    """The share files as text; those that are still sealed are opened with the identity files, where one fits."""
    read = []
    for path in paths:
        try:
            data = Path(path).expanduser().read_bytes()
        except OSError as error:
            raise ControllerError(
                f"the share file {path} cannot be read: {error.strerror}",
                not_done="no share was used",
                next_step='name the custodians\' files: -e \'{"custody_share_files": ["…"]}\'',
            ) from None
        if data.startswith((_AGE_HEADER, _AGE_ARMOR)):
            data = _opened(path, data, identities)
        read.append(Entered(Path(path).name, data.decode("utf-8", "replace")))
    return read


def _opened(path: str, data: bytes, identities: Sequence[str]) -> bytes:
    if not identities:
        raise ControllerError(
            f"the share {Path(path).name} is still sealed to its custodian",
            not_done="no share was used",
            next_step="the custodian opens it: age -d -i KEY FILE; or name the key in custody_identity_files",
        )
    options = [word for identity in identities for word in ("-i", str(Path(identity).expanduser()))]
    return age(["-d", *options], data, f"the share {Path(path).name} was not opened, and no share was used")


def recovered(shares: Sequence[Entered], wanted: Expected, not_done: str) -> bytes:
    """The root; ControllerError that names every share with a problem, one a line."""
    try:
        return recover(shares, wanted)
    except ShareError as error:
        raise ControllerError(
            "the shares cannot be used:\n" + "\n".join(f"- {problem}" for problem in error.problems),
            not_done=not_done,
            next_step=f"correct them; {wanted.threshold} shares of root {spaced(wanted.root_fingerprint)} are needed",
        ) from None


def spaced(fingerprint: str) -> str:
    """As the sheets print it."""
    return " ".join(fingerprint[at : at + 4] for at in range(0, 32, 4))
