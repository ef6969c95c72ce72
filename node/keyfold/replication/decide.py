"""What to do about one object file, given what was committed, what is here and what etcd has. Pure (design §5.6–8)."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum


@dataclass(frozen=True, slots=True)
class Known:
    """The last state of a file this node knows to be committed; `digest` None: committed as deleted."""

    revision: int
    digest: str | None


class Torn(Enum):
    """Stands for a local file that does not parse."""

    TORN = "torn"


TORN = Torn.TORN
Local = str | Torn | None  # identity digest, torn, or absent


class Action(Enum):
    NOTHING = "nothing"  # here is what etcd has; remember it
    APPLY = "apply"  # write etcd's content here
    REMOVE = "remove"  # etcd deleted it; delete it here
    OFFER = "offer"  # a local change never acknowledged; compare-and-set it into etcd
    CONFLICT_APPLY = "conflict_apply"  # keep the local file under conflicts/, then APPLY
    CONFLICT_REMOVE = "conflict_remove"  # keep the local file under conflicts/, then REMOVE


def reconcile(known: Known | None, local: Local, remote: Known | None, *, trusted: bool = True) -> Action:
    """For a node that starts, comes back, or compares in full. No module call is in flight.

    `trusted` False: what this node knew was lost. A file that neither it nor etcd knows may then be one that was
    destroyed meanwhile, and is kept aside instead of offered.

    An unacknowledged *change* is offered; an unacknowledged *delete* is not: SoftHSM's destroy is not crash-safe and a
    file can be lost in ways that are nobody's wish, so the committed state decides.
    """
    if remote is None:
        return _without_remote(known, local, trusted=trusted)
    if local == remote.digest:
        return Action.NOTHING
    if local is None or local is TORN or (known is not None and local == known.digest):
        return Action.APPLY
    if known is not None and known.revision == remote.revision:
        return Action.OFFER
    return Action.CONFLICT_APPLY


def _without_remote(known: Known | None, local: Local, *, trusted: bool) -> Action:
    if local is None:
        return Action.NOTHING
    if local is TORN:
        return Action.CONFLICT_REMOVE
    if known is None:
        return Action.OFFER if trusted else Action.CONFLICT_REMOVE
    return Action.REMOVE if local == known.digest else Action.CONFLICT_REMOVE


def follow(known: Known | None, local: Local, remote: Known) -> Action:
    """For one change seen on the watch; `remote.digest` None means it was deleted there."""
    if known is not None and known.revision >= remote.revision:
        return Action.NOTHING
    if local == remote.digest:
        return Action.NOTHING
    clean = local is None or local is TORN or (known is not None and local == known.digest)
    if remote.digest is None:
        return Action.REMOVE if clean else Action.CONFLICT_REMOVE
    return Action.APPLY if clean else Action.CONFLICT_APPLY


def unexplained(known: Known | None, local: Local, *, softhsm_wrote: bool) -> Action:
    """For a file that changed here with no module call in flight (someone loaded libsofthsm2.so directly, or damage).

    `softhsm_wrote`: the token's generation moved. A file that vanished without that was not destroyed by SoftHSM.
    """
    committed = None if known is None else known.digest
    if local == committed:
        return Action.NOTHING
    if local is TORN:
        return Action.NOTHING if committed is None else Action.APPLY
    if local is None:
        return Action.OFFER if softhsm_wrote else Action.APPLY
    if known is not None and known.digest is None:
        return Action.CONFLICT_REMOVE  # a destroyed file that reappeared
    return Action.OFFER
