"""The operation for the PKCS#11 module: commit what a call changed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from keyfold.agent.server import Caller, Reply
from keyfold.errors import KeyfoldError
from keyfold.replication.registry import Registry

# Longer than an agent takes to open its partitions, shorter than the module waits for an answer.
_OPEN_SECONDS = 12.0


class Commits:
    def __init__(self, registry: Registry) -> None:
        self._registry = registry

    def commit(self, caller: Caller, request: Mapping[str, Any]) -> Reply:
        """A partition's process commits its own partition; the administrator's names one."""
        name = caller.partition or str(request.get("partition"))
        kind, hints = request.get("kind"), request.get("objects", [])
        if kind not in ("create", "update") or not _usable(hints):
            raise KeyfoldError(
                "invalid",
                "the commit names no kind, or its objects are malformed",
                not_done="nothing was committed",
                next_step="see docs/interfaces.md §3",
            )
        return {"revision": self._registry.replica(name, _OPEN_SECONDS).commit(kind, hints, str(caller))}


def _usable(hints: object) -> bool:
    return isinstance(hints, list) and all(
        isinstance(hint, dict)
        and all(hint.get(key) is None or isinstance(hint[key], int) for key in ("class", "key_type"))
        and all(hint.get(key) is None or _hex(hint[key]) for key in ("label", "id"))
        for hint in hints
    )


def _hex(value: object) -> bool:
    try:
        return isinstance(value, str) and bytes.fromhex(value) is not None
    except ValueError:
        return False
