"""The operations around a login: the PKCS#11 module's two, and the operator's."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from functools import partial
from typing import Any

from keyfold.agent.server import Caller, Operation, Reply
from keyfold.errors import KeyfoldError
from keyfold.lockout.guard import Attempt, Guard
from keyfold.lockout.state import USERS

Request = Mapping[str, Any]


class Logins:
    """A login begun on a connection that closes before its result is told counts as a failure."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._lock = threading.Lock()
        self._begun: dict[tuple[int, str], Attempt] = {}

    def table(self) -> dict[str, Operation]:
        return {"login_begin": self._begin, "login_result": self._result}

    def unlock(self, caller: Caller, request: Request) -> Reply:
        """For the administrator."""
        user = request.get("user")
        users = USERS if user is None else (_user(user),)
        check = bool(request.get("check"))
        return {"unlocked": self._guard.unlock(str(request["partition"]), users, str(caller), check=check)}

    def _begin(self, caller: Caller, request: Request) -> Reply:
        name, user = caller.partition or str(request.get("partition")), _user(request.get("user"))
        self._end(caller, user, ok=False)
        attempt = self._guard.begin(name, user, str(caller))
        with self._lock:
            self._begun[id(caller.closing), user] = attempt
        caller.closing.append(partial(self._end, caller, user, ok=False))
        return {}

    def _result(self, caller: Caller, request: Request) -> Reply:
        ok = request.get("ok")
        if not isinstance(ok, bool):
            raise _unusable("login_result does not say whether the login was ok")
        found, locked = self._end(caller, _user(request.get("user")), ok=ok)
        if not found:
            raise _unusable("login_result without a login_begin on this connection")
        return {"locked": locked}

    def _end(self, caller: Caller, user: str, *, ok: bool) -> tuple[bool, bool]:
        """Whether there was a login in flight on the connection, and whether the login is locked now."""
        with self._lock:
            attempt = self._begun.pop((id(caller.closing), user), None)
        if attempt is None:
            return False, False
        if ok:
            self._guard.succeeded(attempt)
            return True, False
        return True, self._guard.failed(attempt)


def _user(value: object) -> str:
    if value in USERS:
        return str(value)
    raise _unusable("the user is neither 'user' nor 'so'")


def _unusable(what: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid", what, not_done="nothing was counted or changed", next_step="see docs/interfaces.md §3"
    )
