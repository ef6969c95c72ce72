"""Take what was purged out of etcd's past: no revision opens it any more, and no member's database keeps its pages.

What a member's write-ahead log still has of it is sealed, not readable through etcd, and goes with the log's rotation.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass

from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import Delete, MemberStatus, Put, Store, Unchanged

log = logging.getLogger(__name__)

# Longer than one member takes at most; each renews it.
_LOCK_SECONDS = 120


@dataclass(frozen=True, slots=True)
class Swept:
    """`problems`: member → why its database still has freed pages; empty when all is done."""

    compacted: int
    problems: dict[str, str]

    def as_row(self) -> dict[str, object]:
        return {"compacted": self.compacted, "problems": self.problems}


def sweep(store: Store) -> Swept | None:
    """Finish what purges left to do, also one that was interrupted; None if nothing is due.

    Members are defragmented one by one, the leader last, each only while all the others are healthy: a member does not
    answer meanwhile. What could not be done stays due. Raises StoreUnavailable if etcd does not compact.
    """
    due = store.get(keys.HISTORY_DUE)
    if due is None:
        return None
    lease = store.grant(_LOCK_SECONDS)
    try:
        # Two at once would defragment two members at once, and with them perhaps the majority.
        if not store.txn([Unchanged(keys.HISTORY_LOCK, 0)], [Put(keys.HISTORY_LOCK, b"", lease)]).succeeded:
            return Swept(due.mod_revision, {"all": "somebody else is at it at this moment"})
        return _sweep(store, due.mod_revision, lease)
    finally:
        store.revoke(lease)


def _sweep(store: Store, revision: int, lease: int) -> Swept:
    store.compact(revision)
    problems: dict[str, str] = {}
    for member in sorted(store.members(), key=lambda one: one.leader):
        store.keep_alive(lease)
        problem = _defragment(store, member)
        if problem:
            problems[member.name] = problem
            log.warning("etcd member %s is not defragmented after a purge: %s; tried again", member.name, problem)
    if not problems:
        store.txn([Unchanged(keys.HISTORY_DUE, revision)], [Delete(keys.HISTORY_DUE)])
    return Swept(revision, problems)


def _defragment(store: Store, member: MemberStatus) -> str:
    """The reason why it was not done, or nothing."""
    ill = [one.name for one in store.members() if not one.healthy and one.endpoint != member.endpoint]
    if ill:
        return f"not while {', '.join(ill)} is not healthy"
    try:
        store.defragment(member.endpoint)
    except KeyfoldError as error:
        return error.what
    return ""
