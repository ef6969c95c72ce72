"""One partition's token directory on this node, as a replica of what etcd has committed (design §5).

Locks, always in this order: the flock files of docs/interfaces.md §3 (`create.lock`, `update.lock`), then `self._lock`.
The PKCS#11 module holds its flock while it waits for `commit`, so nothing here may wait for a flock under `self._lock`.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

from keyfold.clock import Clock, stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import decide, keys
from keyfold.replication.base import Base, Row
from keyfold.replication.changes import Change, metadata, portions
from keyfold.replication.decide import TORN, Action, Known, Local
from keyfold.replication.publish import BYTES_PER_TRANSACTION, CHANGES_PER_TRANSACTION, Publisher
from keyfold.replication.sealed import Sealer, StoredObject
from keyfold.replication.usage import Ledger
from keyfold.store.errors import OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Event, Store
from keyfold.token.directory import TokenDirectory
from keyfold.token.locks import Busy, PartitionLocks
from keyfold.token.object_file import TornFile, describe, identity

log = logging.getLogger(__name__)

# Below the module's own 15 s, so that its caller hears the reason and not a time-out.
COMMIT_SECONDS = 10.0
# A file that nobody knows and that still does not parse after this long is not being written any more.
TORN_SECONDS = 10.0
_RECONCILE_LOCK_SECONDS = 10.0
_LEVEL_AGAIN_SECONDS = 5.0
_LEVEL_AGAIN_LOCK_SECONDS = 1.0
_ROWS = 500
# Up to so many files of one change are brought to disk one by one, more of them together.
_SYNCED_EACH = 8


@dataclass(frozen=True, slots=True)
class Tools:
    """What every replica on a node shares. `drain` hands pending inotify events to the replicas' `touched`."""

    store: Store
    base: Base
    clock: Clock
    node: str
    conflicts: Path
    drain: Callable[[], None]


class Replica:
    """Thread-safe. `applied_revision`: everything committed up to it is in the token directory."""

    def __init__(
        self,
        name: str,
        directory: TokenDirectory,
        locks: PartitionLocks,
        sealer: Sealer,
        tools: Tools,
        *,
        watch: Callable[[Callable[[str], None]], None],
        key_invalidation: bool,
        max_size_bytes: int | None,
    ) -> None:
        """`watch` makes inotify report the token directory's changes to the function it is given.

        `key_invalidation` and `max_size_bytes` are the partition's policy and follow it.
        """
        self.name = name
        self.key_invalidation = key_invalidation
        self.max_size_bytes = max_size_bytes
        self.applied_revision = 0
        self.problem = ""
        self._directory = directory
        self._locks = locks
        self._sealer = sealer
        self._tools = tools
        self._watch = partial(watch, self.touched)
        ledger = Ledger(tools.store, name, lambda: self.max_size_bytes)
        self._publisher = Publisher(ledger, sealer, tools.clock, tools.node, name)
        self._lock = threading.RLock()
        self._advancing = threading.Lock()
        self._known: dict[str, Known] = tools.base.known(name)
        self._purged: set[str] = set()
        self._dirty: set[str] = set()
        self._all_dirty = False
        self._torn_since: dict[str, float] = {}
        self._queue: deque[tuple[int, tuple[Event, ...]]] = deque()
        self._floor = 0
        self._generation = 0
        self._bump_again = False
        self._level_again_at: float | None = None

    # --- change detection -------------------------------------------------------------------------------------

    def touched(self, file: str) -> None:
        """A file changed, says inotify; "" means any may have. Called from `drain` by any thread: takes no lock."""
        if file:
            self._dirty.add(file)
        else:
            self._all_dirty = True

    def _changed_files(self) -> list[str]:
        """What `drain` has brought so far, sorted."""
        self._tools.drain()
        if self._all_dirty:
            self._all_dirty = False
            self._dirty.update(self._directory.files())
            self._dirty.update(file for file, known in self._known.items() if known.digest is not None)
        return sorted(self._dirty.copy())

    @property
    def unsettled(self) -> bool:
        return self._all_dirty or bool(self._dirty) or bool(self._queue) or self._bump_again

    @property
    def waiting(self) -> int:
        """The first revision that waits to be applied, 0 if none does."""
        if self._level_again_at is not None:
            return 1
        try:
            return self._queue[0][0]
        except IndexError:
            return 0

    @property
    def object_count(self) -> int:
        """Committed object files, token.object included."""
        return sum(1 for known in self._known.copy().values() if known.digest is not None)

    def files(self) -> list[str]:
        """Names of all object files on this node's disk."""
        return sorted(self._directory.files())

    def digests(self, files: Iterable[str] | None = None) -> dict[str, str]:
        """Identity of every file (or of `files`) as it is on this node's disk; a torn one has an empty identity."""
        found = {}
        for file in self._directory.files() if files is None else files:
            with self._lock:
                local = self._local(file)
            if local is not None:
                found[file] = "" if local is TORN else local
        return found

    # --- commits from the PKCS#11 module ----------------------------------------------------------------------

    def commit(self, kind: str, hints: Sequence[Mapping[str, Any]], caller: str) -> int:
        """Commit what the module's call changed; the revision that has it. On failure the files are put back first."""
        with self._lock, self._directory.batch():
            # Before the files are looked at: what SoftHSM does while etcd is asked belongs to the next change.
            self._generation = self._directory.generation()
            suspects = self._suspects(kind)
            try:
                changes = self._created(suspects, hints) if kind == "create" else self._updated(suspects, hints)
            except KeyfoldError:
                self._put_back(suspects)
                raise
            if not changes:
                self._dirty.difference_update(suspects)
                return self.applied_revision
            try:
                return self._publish(changes, f"commit {kind}", caller)
            except KeyfoldError:
                self._put_back(change.file for change in changes)
                raise

    def _suspects(self, kind: str) -> list[str]:
        """Dirty files that a call of this kind may have changed: unknown ones for create, known ones for update."""
        return [file for file in self._changed_files() if (self._committed(file) is None) == (kind == "create")]

    def _created(self, suspects: Sequence[str], hints: Sequence[Mapping[str, Any]]) -> list[Change]:
        found = self._read_new(suspects)
        if len(found) < len(hints):
            found = self._read_new(file for file in self._directory.files() if self._committed(file) is None)
        if len(found) < len(hints):
            raise KeyfoldError(
                "internal",
                f"partition {self.name}: {len(hints)} new objects were announced, {len(found)} files were found",
                not_done="the new objects were not committed",
                next_step="repeat the call; if it happens again: journalctl -u keyfold-agent",
            )
        now = stamp(self._tools.clock.utc())
        metas = metadata({file: describe(data) for file, data in found.items()}, hints, {}, now)
        return [Change(file, 0, StoredObject(metas[file], data), identity(data)) for file, data in found.items()]

    def _read_new(self, files: Iterable[str]) -> dict[str, bytes]:
        found = {}
        for file in files:
            data = self._read_whole(file)
            if data is not None:
                found[file] = data
        return found

    def _updated(self, suspects: Sequence[str], hints: Sequence[Mapping[str, Any]]) -> list[Change]:
        changed: dict[str, bytes] = {}
        changes = []
        for file in suspects:
            known = self._known[file]
            data = self._read_whole(file)
            if data is None:
                changes.append(Change(file, known.revision, None, None))
            elif identity(data) != known.digest:
                changed[file] = data
        before = {file: content.meta for file in changed if (content := self._base(file)) is not None}
        metas = metadata(
            {file: describe(data) for file, data in changed.items()},
            hints,
            before,
            stamp(self._tools.clock.utc()),
        )
        changes += [
            Change(file, self._known[file].revision, StoredObject(metas[file], data), identity(data))
            for file, data in changed.items()
        ]
        return changes

    def _read_whole(self, file: str) -> bytes | None:
        try:
            return self._directory.read(file)
        except TornFile as error:
            raise KeyfoldError(
                "disk",
                f"partition {self.name}: the object file {file} is incomplete after the call that wrote it",
                not_done="the change was not committed",
                next_step="check the disk's free space (df /var/lib/keyfold), then repeat the call",
            ) from error

    # --- publishing -------------------------------------------------------------------------------------------

    def _publish(self, changes: Sequence[Change], what: str, caller: str) -> int:
        revision = 0
        committed = (change.file for change in changes if change.expected)
        before = {file: content for file in committed if (content := self._base(file)) is not None}

        def size(change: Change) -> int:
            # A destroyed object takes its content along when it is kept as invalidated.
            content = change.content or before.get(change.file)
            return 0 if content is None else len(content.data)

        for part in portions(changes, size, count=CHANGES_PER_TRANSACTION, size_bytes=BYTES_PER_TRANSACTION):
            revision = self._publisher.publish(
                part,
                what=what,
                caller=caller,
                before=before,
                keep_destroyed=self.key_invalidation,
                timeout_seconds=COMMIT_SECONDS,
            )
            self._remember(Row(change.file, Known(revision, change.digest), change.content) for change in part)
        self._bump_again |= any(change.content is None or change.expected == 0 for change in changes)
        self.applied_revision = max(self.applied_revision, revision)
        return revision

    def _remember(self, rows: Iterable[Row]) -> None:
        rows = list(rows)
        self._tools.base.put(self.name, rows)
        for row in rows:
            self._known[row.file] = row.known
            self._dirty.discard(row.file)
            self._torn_since.pop(row.file, None)

    def _remember_on_disk(self, rows: Sequence[Row]) -> None:
        """After writes that were not durable each by itself: the base must never be ahead of the files."""
        if rows:
            self._directory.sync()
            self._remember(rows)

    def _put_back(self, files: Iterable[str]) -> None:
        """Undo: the files become what was last committed."""
        for file in files:
            content = self._base(file)
            if content is None:
                self._directory.remove(file)
            else:
                self._directory.write(file, content.data)
            self._dirty.discard(file)
        self._bump()

    # --- changes committed elsewhere --------------------------------------------------------------------------

    def follow(self, revision: int, events: tuple[Event, ...]) -> None:
        """Changes of this partition's live objects, from the watch, complete up to `revision`."""
        self._queue.append((revision, events))
        self.advance()

    def advance(self) -> bool:
        """Apply queued changes; False if a module call in flight (it holds update.lock) makes them wait."""
        with self._advancing:
            while self._queue:
                revision, events = self._queue[0]
                try:
                    with ExitStack() as stack:
                        if any(self._exists(self._file(event)) for event in events):
                            stack.enter_context(self._locks.update(0))
                        stack.enter_context(self._lock)
                        stack.enter_context(self._directory.batch())
                        self._apply(events)
                        self.applied_revision = max(self.applied_revision, revision)
                except Busy:
                    return False
                except KeyfoldError as error:
                    self._note(error)
                    return False
                self._queue.popleft()
            if self._level_again_at is None:
                self.problem = ""
            return True

    def _exists(self, file: str) -> bool:
        return self._committed(file) is not None or self._directory.exists(file)

    def _file(self, event: Event) -> str:
        return event.key.removeprefix(keys.objects(self.name))

    def _apply(self, events: Iterable[Event]) -> None:
        # Of several changes of one object only the last one counts: what it finds here is what was known before.
        newest = {event.key: event for event in events}
        durable = len(newest) <= _SYNCED_EACH
        rows = []
        for event in newest.values():
            file = self._file(event)
            if event.mod_revision <= self._floor:
                continue
            known = self._known.get(file)
            if known is not None and known.revision >= event.mod_revision:
                continue
            content = None if event.value is None else self._sealer.open(event.key, event.value.value)
            if content is not None:
                self._purged.discard(file)  # a backup brought it back
            remote = Known(event.mod_revision, None if content is None else identity(content.data))
            self._carry_out(decide.follow(known, self._local(file), remote), file, content, durable=durable)
            rows.append(Row(file, remote, content))
        if rows:
            if not durable:
                self._directory.sync()
            self._bump()
            self._bump_again = True
            self._remember(rows)

    def bump_again(self) -> None:
        """A while after objects came or went, the generation moves once more.

        A process that creates or destroys an object takes the generation it then finds for its own doing, and would
        overlook what others did since it last looked (SoftHSM 2.6.1).
        """
        if self._bump_again:
            with self._lock:
                self._bump_again = False
                self._bump()

    def _carry_out(self, action: Action, file: str, content: StoredObject | None, *, durable: bool = True) -> None:
        if action in (Action.CONFLICT_APPLY, Action.CONFLICT_REMOVE) and file not in self._purged:
            self._directory.quarantine(file, self._tools.conflicts / self.name)
            log.warning(
                "partition %s: a local change to %s lost; it is kept in %s",
                self.name,
                file,
                self._tools.conflicts / self.name,
            )
        if action in (Action.APPLY, Action.CONFLICT_APPLY) and content is not None:
            self._directory.write(file, content.data, durable=durable)
        elif action in (Action.REMOVE, Action.CONFLICT_REMOVE):
            self._directory.remove(file)

    # --- a node that starts, comes back, or compares in full --------------------------------------------------

    def level(self, lock_seconds: float = _RECONCILE_LOCK_SECONDS) -> None:
        """Reconcile; only etcd's failures are raised.

        What is wrong with this partition's files, which its user owns, is noted and tried again (`level_again`), so
        that it cannot keep the others from following.
        """
        try:
            self.reconcile(lock_seconds)
        except (StoreUnavailable, OutcomeUnknown):
            raise
        except KeyfoldError as error:
            self._level_again_at = self._tools.clock.monotonic() + _LEVEL_AGAIN_SECONDS
            self._note(error)
        except Exception:
            self._level_again_at = self._tools.clock.monotonic() + _LEVEL_AGAIN_SECONDS
            self.problem = f"partition {self.name}: a defect in keyfold-agent: journalctl -u keyfold-agent"
            log.exception("partition %s: a defect in keyfold-agent; it is compared again", self.name)

    def level_again(self) -> None:
        """What `level` could not do, now and then."""
        if self._level_again_at is not None and self._tools.clock.monotonic() >= self._level_again_at:
            self.level(_LEVEL_AGAIN_LOCK_SECONDS)

    def reconcile(self, lock_seconds: float = _RECONCILE_LOCK_SECONDS) -> int:
        """Make the directory and etcd agree; the revision at which they do."""
        with self._locks.create(lock_seconds), self._locks.update(lock_seconds), self._lock:
            self._open_directory()
            self._generation = self._directory.generation()
            self._tools.drain()
            # A base that was lost cannot tell a file that was destroyed meanwhile from one that was never offered.
            trusted = self._tools.base.trusted(self.name)
            scan = self._tools.store.scan(keys.objects(self.name))
            seen: set[str] = set()
            offers: list[str] = []
            rows: list[Row] = []
            for item in scan:
                file = item.key.removeprefix(keys.objects(self.name))
                seen.add(file)
                known, local = self._known.get(file), self._local(file)
                if known == Known(item.mod_revision, local if isinstance(local, str) else None):
                    self._dirty.discard(file)
                    continue
                content = self._sealer.open(item.key, item.value)
                remote = Known(item.mod_revision, identity(content.data))
                action = decide.reconcile(known, local, remote)
                if action is Action.OFFER:
                    offers.append(file)
                    continue
                self._carry_out(action, file, content, durable=False)
                rows.append(Row(file, remote, content))
                if len(rows) >= _ROWS:
                    self._remember_on_disk(rows)
                    rows = []
            self._remember_on_disk(rows)
            offers += self._without_remote(seen, trusted=trusted)
            self._tools.base.trust(self.name)
            self._bump()
            self._floor = scan.revision
            self.applied_revision = max(self.applied_revision, scan.revision)
            self._offer(offers)
            if self._level_again_at is not None:
                self._level_again_at = None
                self.problem = ""
            return scan.revision

    def _without_remote(self, seen: set[str], *, trusted: bool) -> Iterator[str]:
        """Files etcd does not have: removes what was deleted there, yields what was never offered."""
        gone = []
        for file in sorted((set(self._directory.files()) | set(self._known)) - seen):
            local = self._local(file)
            action = decide.reconcile(self._known.get(file), local, None, trusted=trusted)
            if action is Action.OFFER:
                yield file
                continue
            self._carry_out(action, file, None)
            gone.append(file)
        self._tools.base.forget(self.name, gone)
        for file in gone:
            self._known.pop(file, None)
            self._dirty.discard(file)

    def compare(self) -> None:
        """The backstop: look at every file again, and at etcd if its revisions are not the known ones."""
        self._all_dirty = True
        scan = self._tools.store.scan(keys.objects(self.name), keys_only=True)
        there = {item.key.removeprefix(keys.objects(self.name)): item.mod_revision for item in scan}
        with self._lock:
            here = {file: known.revision for file, known in self._known.items() if known.digest is not None}
            stale = there != here and not self._queue and self.applied_revision <= scan.revision
        if stale:
            self.reconcile()

    def settle(self) -> None:
        """Deal with changes made without the module, and with what a killed call left behind."""
        if not self._dirty and not self._all_dirty:
            return
        try:
            with self._locks.create(0), self._locks.update(0), self._lock:
                self._settle()
        except Busy:
            return
        except KeyfoldError as error:
            self._note(error)

    def _settle(self) -> None:
        # Only SoftHSM moves the generation; a directory that was wiped has none. Read before the files are looked at:
        # what SoftHSM does while etcd is asked is the next round's to notice.
        moved = self._directory.generation()
        unexplained = max(moved - self._generation, 0)
        if moved == 0:
            self._open_directory()
            self._generation = 0
        offers = []
        repaired = False
        for file in self._changed_files():
            local = self._local(file)
            if local is TORN and self._committed(file) is None and not self._given_up(file):
                continue
            action = (
                Action.CONFLICT_REMOVE
                if self._given_up(file)
                else decide.unexplained(self._known.get(file), local, softhsm_wrote=unexplained > 0)
            )
            if action is Action.OFFER:
                offers.append(file)
                continue
            if action is not Action.NOTHING:
                log.warning("partition %s: %s: %s", self.name, file, action.value)
                self._carry_out(action, file, self._base(file))
                repaired = True
            self._dirty.discard(file)
            self._torn_since.pop(file, None)
        if repaired:
            self._bump()
        self._offer(offers)
        self._generation += unexplained

    def _given_up(self, file: str) -> bool:
        now = self._tools.clock.monotonic()
        return (
            self._committed(file) is None
            and self._local(file) is TORN
            and now - self._torn_since.setdefault(file, now) >= TORN_SECONDS
        )

    def _offer(self, files: Sequence[str]) -> None:
        """Compare-and-set local changes that nobody acknowledged; what loses is kept under conflicts/."""
        gone = self._purged.intersection(files)
        for file in gone:
            self._directory.remove(file)
            self._dirty.discard(file)
        files = [file for file in files if file not in gone]
        if not files:
            return
        changes = []
        for file in files:
            data = self._directory.read(file)
            known = self._known.get(file)
            expected = known.revision if known is not None and known.digest is not None else 0
            if data is None:
                changes.append(Change(file, expected, None, None))
                continue
            before = self._base(file)
            seen = {file: describe(data)}
            metas = metadata(seen, (), {} if before is None else {file: before.meta}, stamp(self._tools.clock.utc()))
            changes.append(Change(file, expected, StoredObject(metas[file], data), identity(data)))
        try:
            self._publish(changes, "offer", f"node {self._tools.node}")
        except (StoreUnavailable, OutcomeUnknown):
            self._dirty.update(files)
            raise
        except KeyfoldError:
            if len(changes) > 1:
                for file in files:
                    self._offer([file])
                return
            self._yield_to_committed(files[0])

    def _yield_to_committed(self, file: str) -> None:
        item = self._tools.store.get(keys.live(self.name, file))
        content = None if item is None else self._sealer.open(item.key, item.value)
        action = Action.CONFLICT_REMOVE if content is None else Action.CONFLICT_APPLY
        self._carry_out(action, file, content)
        self._bump()
        if item is None or content is None:
            revision = self._tools.store.revision()
            self._remember([Row(file, Known(revision, None), None)])
        else:
            self._remember([Row(file, Known(item.mod_revision, identity(content.data)), content)])

    # --- what was purged --------------------------------------------------------------------------------------

    def purged(self, files: Iterable[str], *, these_alone: bool = False) -> None:
        """These objects are gone for good: no copy of them stays on this node, and none is kept if one turns up.

        `these_alone`: all others purged earlier are forgotten; a backup may have brought them back.
        """
        with self._lock:
            fresh = set(files) - self._purged
            self._purged = set(files) if these_alone else self._purged | fresh
            if not fresh:
                return
            for copy in (self._tools.conflicts / self.name).glob("*.object"):
                # <time>-<file>, as `TokenDirectory.quarantine` names it.
                if any(copy.name.endswith(f"-{file}") for file in fresh):
                    copy.unlink(missing_ok=True)
            self._tools.base.scrub()

    # --- small things -----------------------------------------------------------------------------------------

    def _open_directory(self) -> None:
        self._directory.create()
        self._watch()

    def _bump(self) -> None:
        # Its own step only: one that SoftHSM made just before is still to be noticed.
        self._generation = min(self._generation + 1, self._directory.bump())

    def _base(self, file: str) -> StoredObject | None:
        return self._tools.base.content(self.name, file)

    def _committed(self, file: str) -> str | None:
        known = self._known.get(file)
        return None if known is None else known.digest

    def _local(self, file: str) -> Local:
        try:
            data = self._directory.read(file)
        except TornFile:
            return TORN
        return None if data is None else identity(data)

    def _note(self, error: KeyfoldError) -> None:
        self.problem = error.what
        log.error("partition %s: %s; not done: %s; next: %s", self.name, error.what, error.not_done, error.next_step)
