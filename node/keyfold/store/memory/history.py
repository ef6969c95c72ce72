"""Every key at every revision since the last compaction."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from keyfold.errors import KeyfoldError
from keyfold.store.errors import Compacted
from keyfold.store.interface import Event, KeyValue, Op, Put


class History:
    """Revisions and versions as etcd counts them; the first write is revision 2. Not thread-safe."""

    def __init__(self) -> None:
        self.revision = 1
        self.compacted = 0
        self._versions: dict[str, list[Event]] = {}
        self._log: list[Event] = []

    def at(self, key: str, revision: int = 0) -> KeyValue | None:
        """The key at `revision`, 0 = now. Raises Compacted, or KeyfoldError for a revision to come."""
        self._check(revision)
        versions = self._versions.get(key, [])
        place = bisect_right(versions, revision or self.revision, key=lambda event: event.mod_revision)
        return versions[place - 1].value if place else None

    def keys(self, prefix: str) -> list[str]:
        """All keys that ever were under `prefix`, in etcd's order: that of their bytes."""
        return sorted((key for key in self._versions if key.startswith(prefix)), key=str.encode)

    def write(self, ops: Iterable[Op]) -> None:
        """Apply operations at one new revision; there is none if they change nothing."""
        events = [event for op in ops if (event := self._event(op, self.revision + 1)) is not None]
        if events:
            self.revision += 1
            for event in events:
                self._versions.setdefault(event.key, []).append(event)
                self._log.append(event)

    def since(self, prefix: str, revision: int) -> Iterator[Event]:
        """Events under `prefix` from `revision` on. Kept beyond compaction, for watches that were there in time."""
        start = bisect_right(self._log, revision - 1, key=lambda event: event.mod_revision)
        return (event for event in self._log[start:] if event.key.startswith(prefix))

    def compact(self, revision: int) -> None:
        """Forget what was superseded before `revision`."""
        self._check(revision)
        self.compacted = revision

    def _check(self, revision: int) -> None:
        if 0 < revision < self.compacted:
            raise Compacted(0)
        if revision > self.revision:
            raise KeyfoldError(
                "not_found",
                f"revision {revision} has not been reached",
                not_done="nothing was read",
                next_step="ask for a revision that exists",
            )

    def _event(self, op: Op, revision: int) -> Event | None:
        before = self.at(op.key)
        if isinstance(op, Put):
            created, version = (before.create_revision, before.version) if before else (revision, 0)
            return Event(op.key, KeyValue(op.key, op.value, revision, created, version + 1, op.lease), revision)
        return None if before is None else Event(op.key, None, revision)
