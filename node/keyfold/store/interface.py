"""The interface to etcd: the one place where Keyfold's nodes agree.

Two implementations, `keyfold.store.etcd` and `keyfold.store.memory`, and one contract suite that runs on both
(`tests/contract/test_store_contract.py`). Keys are text, values are bytes.

**Revisions.** Every transaction that writes moves the whole store on by exactly one revision. A key's `mod_revision`
is the revision that wrote it last, `create_revision` the one that made it, `version` counts its writes since then.

**What compare-and-set guarantees.** A transaction is atomic: all its operations happen at one revision, or none
does. `Unchanged(key, r)` holds if the key's `mod_revision` is r at that instant, and r = 0 if it is absent. Of any
number of concurrent transactions that compare the same key at the same revision and write it, exactly one succeeds.

**What returns and what raises.** A compare that does not hold is an answer: `TxnResult.succeeded` is False, and
`current` says how the compared keys really are. An absent key is None, a lease that is gone has 0 seconds left.
Everything else raises, and there is one difference that nobody may blur:

- `StoreUnavailable`: it was definitely not done, and will not be.
- `OutcomeUnknown`: a transaction left this machine and no answer came. It may have been applied, may not have
  been, and *may still be*. Reading does not settle it; repeating the identical transaction does
  (`keyfold.store.settle`).

**What is timing critical.** Deadlines are monotonic and cover the whole call, all endpoints included. A call uses
its deadline to live through the loss of a member and an election (1 to 2 seconds) and raises only at its end. A
lease must be kept alive well within its TTL: a third of it is customary. Events reach a watch in
the order of their revisions, each once. All methods may be called from many threads at once; a `Watch` and a `Scan`
belong to one thread, except for `Watch.close`.

Sources: https://etcd.io/docs/v3.5/learning/api/ and https://etcd.io/docs/v3.5/learning/api_guarantees/.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Self

MAX_TXN_OPS = 512
"""Compares, and operations, in one transaction at most: `--max-txn-ops` as role etcd sets it (etcd's default: 128)."""

MAX_REQUEST_BYTES = 1_500_000
"""Keys and values of one transaction together at most; etcd's `--max-request-bytes` is 1.5 MiB with all framing."""

DEFAULT_TIMEOUT_SECONDS = 5.0
"""Deadline of every call that does not name its own."""


@dataclass(frozen=True, slots=True)
class KeyValue:
    """One key as it is at one revision. `lease` is 0 without a lease; `value` is empty in a scan for keys only."""

    key: str
    value: bytes
    mod_revision: int
    create_revision: int
    version: int
    lease: int


@dataclass(frozen=True, slots=True)
class Unchanged:
    """A compare: the key is still at this `mod_revision`; 0 = it is absent."""

    key: str
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Put:
    """Write a key; with a lease the key goes when the lease does. A put without a lease detaches the key from one."""

    key: str
    value: bytes
    lease: int = 0


@dataclass(frozen=True, slots=True)
class Delete:
    """Delete a key; an absent key is no error."""

    key: str


Op = Put | Delete


@dataclass(frozen=True, slots=True)
class TxnResult:
    """The answer to a transaction.

    `revision`: the store's revision right after it; when `succeeded` and something was written, the `mod_revision` of
    what was. `current`: on failure, each compared key as it is (None = absent); empty on success.
    """

    succeeded: bool
    revision: int
    current: Mapping[str, KeyValue | None]


@dataclass(frozen=True, slots=True)
class Event:
    """One key written (`value`) or deleted (`value` is None) at `mod_revision`."""

    key: str
    value: KeyValue | None
    mod_revision: int


@dataclass(frozen=True, slots=True)
class Batch:
    """All events under the watched prefix of one or more whole revisions, in order; a revision is never torn.

    `revision`: everything up to and including it has been delivered. A batch without events only says that.
    """

    revision: int
    events: tuple[Event, ...]


@dataclass(frozen=True, slots=True)
class MemberStatus:
    """One configured endpoint. `name` is the member's own name, or the endpoint while the member does not answer.

    `healthy`: it answers, knows a leader and raises no alarm; otherwise `error` says why not.
    """

    name: str
    endpoint: str
    healthy: bool
    leader: bool
    db_size_bytes: int
    revision: int
    error: str


class Scan:
    """The keys under a prefix in key order, all at `revision`. Iterate once; pages are fetched on the way.

    Iterating raises StoreUnavailable, or Compacted if `revision` was compacted meanwhile: start again.
    """

    def __init__(self, revision: int, items: Iterator[KeyValue]) -> None:
        self.revision = revision
        self._items = items

    def __iter__(self) -> Iterator[KeyValue]:
        return self._items


class Watch(ABC):
    """Events under a prefix from a revision on; iterate in one thread, leave the `with` block or `close` to end it.

    A broken connection, a member that hangs, is cut off from its majority or restarts is noticed within about 10
    seconds, and the watch goes on through another endpoint from the revision after the last delivered one: no
    event is lost or repeated. While no endpoint answers it keeps trying, silently. Iterating raises `Compacted` when
    events it would have to deliver are gone: compare everything, then watch from there.
    """

    @abstractmethod
    def __iter__(self) -> Iterator[Batch]: ...

    @abstractmethod
    def close(self) -> None:
        """End the iteration, from any thread; safe to repeat."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Store(ABC):
    """The contract is this module's docstring. Errors are those of `keyfold.store.errors`."""

    @abstractmethod
    def get(self, key: str, *, serializable: bool = False, revision: int = 0) -> KeyValue | None:
        """The key now, or as it was at `revision` (0 = now).

        Linearizable: it sees every transaction that was answered before the call. `serializable` reads what the nearest
        member has, also without a majority; that may be old.
        Raises StoreUnavailable; Compacted if `revision` is older than the history.
        """

    @abstractmethod
    def scan(
        self, prefix: str, *, revision: int = 0, keys_only: bool = False, page: int = 500, without: str = ""
    ) -> Scan:
        """The keys under `prefix`, all at one revision (0 = now, linearizable), at most `page` in memory at a time.

        `without`: a longer prefix, whose keys are left out and not even read.
        Raises StoreUnavailable or Compacted, here or while iterating.
        """

    @abstractmethod
    def revision(self) -> int:
        """The store's revision, linearizable. Raises StoreUnavailable."""

    @abstractmethod
    def txn(
        self, compares: Sequence[Unchanged], ops: Sequence[Op], *, timeout_seconds: float = DEFAULT_TIMEOUT_SECONDS
    ) -> TxnResult:
        """If all compares hold, do all operations at one revision; otherwise do nothing and say what holds instead.

        Raises StoreUnavailable (not done), StoreFull (not done, the quota is reached), LeaseGone (not done),
        OutcomeUnknown, TooLarge before anything is sent, and ValueError for a key named twice.
        It is sent once: a transaction that may have left is never repeated behind the caller's back.
        """

    @abstractmethod
    def grant(self, ttl_seconds: int) -> int:
        """A new lease's ID. When the answer is lost the lease may exist; it then expires by itself."""

    @abstractmethod
    def keep_alive(self, lease: int) -> int:
        """Start the lease's TTL again; returns it in seconds, 0 = the lease and its keys are gone."""

    @abstractmethod
    def revoke(self, lease: int) -> None:
        """End a lease and delete its keys; a lease that is gone is no error."""

    @abstractmethod
    def watch(self, prefix: str, from_revision: int, *, progress: bool = True) -> Watch:
        """Events under `prefix` with a `mod_revision` of at least `from_revision`; call it with a revision ≥ 1.

        With `progress`, batches without events tell now and then how far the watch is while nothing happens.
        Connects while iterating, so this never raises StoreUnavailable.
        """

    @abstractmethod
    def compact(self, revision: int) -> None:
        """Forget, physically, every value that was superseded or deleted at `revision` or before.

        Done already is no error. Members' database files keep the freed pages until `defragment`. A scan or a watch
        that needs the forgotten history ends with `Compacted`. Raises StoreUnavailable.
        """

    @abstractmethod
    def defragment(self, endpoint: str) -> None:
        """Write the database of the member at `endpoint` (as in `members`) anew, without freed pages.

        The member answers nobody meanwhile: one at a time, and only while the others are healthy. Raises
        StoreUnavailable if it did not answer within 60 seconds; it may still be at it.
        """

    @abstractmethod
    def members(self) -> tuple[MemberStatus, ...]:
        """The state of each configured endpoint, in that order; answers also without a majority, never raises."""

    @abstractmethod
    def close(self) -> None:
        """Close connections and end all watches; the store cannot be used afterwards."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
