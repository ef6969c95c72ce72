"""What every keyfold_* module shares: run the node's command, one exception, a diff.

The modules decide nothing themselves: `keyfold … --json` (docs/interfaces.md §5) plans or executes,
they put its answer into Ansible's words.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from ansible.module_utils.basic import AnsibleModule

COMMAND_OPTION: dict[str, Any] = {"type": "path", "default": "/usr/bin/keyfold"}

_INTERNAL = 1


class KeyfoldCommandError(Exception):
    """The node's command refused or failed.

    `what` happened, what was `not_done` because of it, and the `next_step`; `exit_code` and `code` as in
    docs/interfaces.md §6. `missing`: the command itself is not installed on the host.
    """

    def __init__(
        self,
        what: str,
        *,
        not_done: str,
        next_step: str,
        exit_code: int = _INTERNAL,
        code: str = "internal",
        missing: bool = False,
    ) -> None:
        super().__init__(what)
        self.what = what
        self.not_done = not_done
        self.next_step = next_step
        self.exit_code = exit_code
        self.code = code
        self.missing = missing

    @property
    def before_genesis(self) -> bool:
        """Whether there is no cluster to ask: a bare host, or a node that has not joined one yet."""
        return self.missing or self.code == "not_found"

    def as_failure(self) -> dict[str, Any]:
        """The arguments of `fail_json`."""
        return {
            "msg": f"{self.what}\nNot done: {self.not_done}\nNext: {self.next_step}",
            "code": self.code,
            "exit_code": self.exit_code,
        }


class NodeCommand:
    """The `keyfold` command at `path` on the host the module runs on."""

    def __init__(self, module: AnsibleModule, path: str) -> None:
        self._module = module
        self._path = path

    def run(self, arguments: Sequence[str], secrets: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """The command's JSON answer. `secrets` go over standard input, never into argv.

        Raises KeyfoldCommandError if the command is missing, fails, or answers something else than JSON.
        """
        try:
            code, out, err = self._module.run_command(
                [self._path, *arguments, "--json"],
                data=None if secrets is None else json.dumps(secrets),
                expand_user_and_vars=False,  # a label may hold a '$'
                handle_exceptions=False,
                environ_update={"LC_ALL": "C.UTF-8"},
            )
        except OSError as error:
            raise KeyfoldCommandError(
                f"the command {self._path} cannot be run on this host: {error.strerror}",
                not_done="nothing was read or changed",
                next_step="ansible-playbook playbooks/site.yml --limit this host",
                missing=isinstance(error, FileNotFoundError),
            ) from error
        try:
            answer = json.loads(out)
        except ValueError:
            raise self._unintelligible(arguments, code, err) from None
        if not isinstance(answer, dict):
            raise self._unintelligible(arguments, code, err)
        if code != 0 or answer.get("ok") is not True:
            raise KeyfoldCommandError(
                str(answer.get("what", f"keyfold ended with status {code}")),
                not_done=str(answer.get("not_done", "unknown")),
                next_step=str(answer.get("next", "journalctl -u keyfold-agent on this node")),
                exit_code=int(answer.get("exit_code", code)),
                code=str(answer.get("code", "internal")),
            )
        return answer

    def _unintelligible(self, arguments: Sequence[str], code: int, err: str) -> KeyfoldCommandError:
        said = err.strip().splitlines()
        return KeyfoldCommandError(
            f"{self._path} {' '.join(arguments)} ended with status {code} and no JSON answer"
            + (f": {said[-1]}" if said else ""),
            not_done="the outcome is unknown",
            next_step="run the same command on the node by hand and read journalctl -u keyfold-agent",
        )


def conclude(module: AnsibleModule, act: Callable[[AnsibleModule, NodeCommand], dict[str, Any]]) -> None:
    """End the module with the result of `act`, or with the reason why there is none."""
    try:
        result = act(module, NodeCommand(module, module.params["command"]))
    except KeyfoldCommandError as error:
        module.fail_json(**error.as_failure())
    else:
        module.exit_json(**result)


def diff(module: AnsibleModule, before: object, after: object) -> dict[str, Any]:
    """The `diff` part of a result, empty unless --diff asked for it or if nothing differs."""
    return {"diff": {"before": before, "after": after}} if module._diff and before != after else {}  # noqa: SLF001 - no public name


def given(options: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options that were given: Ansible passes those that were not as None."""
    return {key: value for key, value in (options or {}).items() if value is not None}
