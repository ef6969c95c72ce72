"""Who may try to log in now: asked before SoftHSM is, told afterwards how it went.

A login in flight holds one of a few places and counts as a failure until it is known to have succeeded. A place is
given back only when its failure is in etcd, so a node admits nobody on old figures for longer than one login takes:
over `n` nodes at most `max_failures + (n - 1) * PLACES` guesses get in before a lock, however many connections try. A
successful login is answered from memory: it costs etcd nothing.

Without a majority, or where etcd takes more than a second, this node goes on with what it knew and its own count: at
most `max_failures` more on each such node, and it takes the failures to etcd with the next one after that.
"""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from keyfold.audit.note import note
from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.lockout.state import Failures, Limits, decode, encode, written_ago
from keyfold.replication import keys
from keyfold.store.errors import OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Delete, Event, KeyValue, Op, Put, Store, Unchanged

log = logging.getLogger(__name__)

PLACES = 8
# Of SoftHSM's C_Login; a process that says nothing for so long is stuck or gone.
_ATTEMPT_SECONDS = 30.0
# Below the module's own patience.
_WAIT_SECONDS = 5.0
_RECORD_SECONDS = 1.0


@dataclass(slots=True, eq=False)
class Attempt:
    """One login in flight."""

    login: _Login
    who: str
    began: float


@dataclass(slots=True, eq=False)
class _Login:
    """`shared`: what etcd has at `revision` (0: nothing), as of `seen`; `unsent`, `lock`: what it could not be told."""

    partition: str
    user: str
    shared: Failures = field(default_factory=Failures)
    revision: int = 0
    seen: int = 0
    unsent: tuple[tuple[float, int], ...] = ()
    lock: float = 0.0
    attempts: set[Attempt] = field(default_factory=set)
    recording: threading.Lock = field(default_factory=threading.Lock)

    @property
    def failures(self) -> Failures:
        known = self.shared.with_(self.unsent)
        return Failures(known.when, max(known.locked_until, self.lock))


class Guard:
    """Thread-safe. `policy` gives a partition's policy, or raises KeyfoldError `not_found`."""

    def __init__(self, store: Store, clock: Clock, node: str, policy: Callable[[str], Mapping[str, Any]]) -> None:
        self._store = store
        self._clock = clock
        self._node = node
        self._policy = policy
        self._changed = threading.Condition()
        self._logins: dict[tuple[str, str], _Login] = {}

    def begin(self, partition: str, user: str, who: str) -> Attempt:
        """A place to try a login in. KeyfoldError `locked`; `conflict` if all places stay taken for 5 seconds."""
        limits = Limits.of(self._policy(partition))
        deadline = self._clock.monotonic() + _WAIT_SECONDS
        while True:
            self._give_up_on_stuck(partition, user)
            with self._changed:
                login = self._login(partition, user)
                now = self._clock.monotonic()
                wait = login.failures.locked_for(now, limits)
                if wait > 0:
                    raise _locked(login, wait)
                left = limits.max_failures - login.failures.recent(now, limits)
                if len(login.attempts) < min(PLACES, left):
                    attempt = Attempt(login, who, now)
                    login.attempts.add(attempt)
                    return attempt
                if now >= deadline:
                    raise KeyfoldError(
                        "conflict",
                        f"too many logins to partition {partition} at once on this node",
                        not_done="the login was not tried",
                        next_step="try again; keyfold status shows whether somebody guesses",
                    )
                self._changed.wait(min(deadline - now, 0.5))

    def succeeded(self, attempt: Attempt) -> None:
        with self._changed:
            attempt.login.attempts.discard(attempt)
            self._changed.notify_all()

    def failed(self, attempt: Attempt) -> bool:
        """Count it, in etcd if it has a majority; whether the login is locked now."""
        login = attempt.login
        try:
            limits = Limits.of(self._policy(login.partition))
            with login.recording:
                self._record(login, limits, attempt.who)
            return login.failures.locked_for(self._clock.monotonic(), limits) > 0
        finally:
            self.succeeded(attempt)

    def unlock(self, partition: str, users: tuple[str, ...], who: str, *, check: bool = False) -> list[str]:
        """Forget failures and lift locks; the users for whom there was something to forget. Raises as the store.

        With `check` nothing is forgotten.
        """
        self._policy(partition)
        done = []
        for user in users:
            key = keys.login(partition, user)
            item = self._store.get(key)
            if item is None:
                continue
            if check:
                done.append(user)
                continue
            record = note(self._clock, self._node, what="login unlocked", who=who, partition=partition, user=user)
            result = self._store.txn([Unchanged(key, item.mod_revision)], [Delete(key), record])
            if not result.succeeded:
                raise KeyfoldError(
                    "conflict",
                    f"the logins of {user} to partition {partition} go on failing: the count changed meanwhile",
                    not_done="it was not unlocked",
                    next_step="find out who guesses (keyfold audit list), then run it again",
                )
            self.follow(Event(key, None, result.revision))
            done.append(user)
        return done

    # --- what etcd says ---------------------------------------------------------------------------------------

    def level(self) -> None:
        """Take over what stands in etcd, when following it begins or begins again."""
        scan = self._store.scan(keys.LOGINS)
        there = {item.key: item for item in scan}
        with self._changed:
            for login in self._logins.values():
                if login.revision and keys.login(login.partition, login.user) not in there:
                    self._forget(login, scan.revision)
            for item in there.values():
                login = self._of(item.key)
                if item.mod_revision > login.seen:
                    # Nothing but the wall clock tells how old it is.
                    self._adopt(login, item, written_ago(item.value, self._clock.utc()))
            self._changed.notify_all()

    def follow(self, event: Event) -> None:
        """A change from the watch: it was written just now."""
        with self._changed:
            login = self._of(event.key)
            if event.mod_revision <= login.seen:
                return
            if event.value is None:
                self._forget(login, event.mod_revision)
            else:
                self._adopt(login, event.value)
            self._changed.notify_all()

    # --- inside -----------------------------------------------------------------------------------------------

    def _record(self, login: _Login, limits: Limits, who: str) -> None:
        key = keys.login(login.partition, login.user)
        while True:
            with self._changed:
                now = self._clock.monotonic()
                before = login.failures
                after = before.failed(now, limits)
                expected = login.revision
            ops: list[Op] = [Put(key, encode(after, now, self._clock.utc()))]
            if after.locked_until > before.locked_until:
                ops.append(self._locked_note(login, limits, who))
            try:
                result = self._store.txn([Unchanged(key, expected)], ops, timeout_seconds=_RECORD_SECONDS)
            except (StoreUnavailable, OutcomeUnknown) as error:
                log.warning(
                    "partition %s: a failed login is counted on this node only: %s", login.partition, error.what
                )
                with self._changed:
                    login.unsent = (*login.unsent, (now, 1))
                    login.lock = max(login.lock, after.locked_until)
                return
            with self._changed:
                if result.succeeded:
                    if result.revision > login.seen:
                        login.shared, login.unsent, login.lock = after, (), 0.0
                        login.revision = login.seen = result.revision
                    return
                current = result.current[key]
                if current is None:
                    self._forget(login, max(login.seen, result.revision))
                elif current.mod_revision > login.seen:
                    self._adopt(login, current)

    def _locked_note(self, login: _Login, limits: Limits, who: str) -> Put:
        log.warning("partition %s: login of %s locked for %d s", login.partition, login.user, limits.lock_seconds)
        return note(
            self._clock,
            self._node,
            what="login locked",
            who=who,
            partition=login.partition,
            user=login.user,
            failures=limits.max_failures,
            lock_seconds=limits.lock_seconds,
        )

    def _give_up_on_stuck(self, partition: str, user: str) -> None:
        with self._changed:
            now = self._clock.monotonic()
            attempts = self._login(partition, user).attempts
            stuck = [attempt for attempt in attempts if now - attempt.began > _ATTEMPT_SECONDS]
            attempts.difference_update(stuck)
        for attempt in stuck:
            self.failed(attempt)

    def _login(self, partition: str, user: str) -> _Login:
        return self._logins.setdefault((partition, user), _Login(partition, user))

    def _of(self, key: str) -> _Login:
        partition, _, user = key.removeprefix(keys.LOGINS).partition("/")
        return self._login(partition, user)

    def _adopt(self, login: _Login, item: KeyValue, ago: float = 0.0) -> None:
        login.shared = decode(item.value, self._clock.monotonic(), ago)
        login.revision = login.seen = item.mod_revision

    def _forget(self, login: _Login, revision: int) -> None:
        login.shared, login.unsent, login.lock = Failures(), (), 0.0
        login.revision, login.seen = 0, revision


def _locked(login: _Login, seconds: float) -> KeyfoldError:
    return KeyfoldError(
        "locked",
        f"the login of {login.user} to partition {login.partition} is locked for {seconds:.0f} s more: too many failed",
        not_done="the login was not tried; sessions that are logged in go on",
        next_step=f"wait, or: keyfold partition unlock {login.partition} --user {login.user}",
    )
