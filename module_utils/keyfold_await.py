"""Wait until the cluster's status is as wanted: which conditions there are, and one loop with a deadline."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import Any

from ansible.module_utils.keyfold import KeyfoldCommandError, NodeCommand

_POLL_SECONDS = 0.2


def no_quorum(status: Mapping[str, Any]) -> str:
    """Why changes cannot be made now, or an empty string."""
    return "" if status["quorum"] else f"etcd has no majority as {status['node']} sees it"


def no_cluster(status: Mapping[str, Any]) -> str:
    """Why there is no cluster to work with, or an empty string."""
    return no_quorum(status) or ("" if status["cluster"] else "the cluster has not been initialized")


def behind(status: Mapping[str, Any], revision: int) -> str:
    """Which live node has not applied everything up to etcd's `revision`, or an empty string."""
    late = [
        f"{node['name']} (at {node['applied_revision']})"
        for node in status["nodes"]
        if node["agent"] == "up" and node["applied_revision"] < revision
    ]
    return no_cluster(status) or (f"not yet at revision {revision}: {', '.join(late)}" if late else "")


def await_status(command: NodeCommand, unmet: Callable[[Mapping[str, Any]], str], seconds: float) -> dict[str, Any]:
    """The first status for which `unmet` has no reason left.

    Raises KeyfoldCommandError with the last reason once `seconds` are over; a command that is not installed is
    not waited for.
    """
    deadline = time.monotonic() + seconds
    while True:
        try:
            status: dict[str, Any] = command.run(["status"])
            if not (reason := unmet(status)):
                return status
        except KeyfoldCommandError as error:
            if error.missing:
                raise
            reason = error.what
        if time.monotonic() >= deadline:
            raise KeyfoldCommandError(
                f"after {seconds:g} s of waiting: {reason}",
                not_done="what was done so far stands; what should follow was not begun",
                next_step="keyfold status on this node, then run the playbook again",
                code="agent_down",
                exit_code=6,
            )
        time.sleep(_POLL_SECONDS)
