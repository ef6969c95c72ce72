"""Carry a transaction through to a known outcome.

When a transaction's answer is lost, reading cannot settle what became of it: it may still be on its way. Repeating the
identical transaction can, because both compare the same revisions and so at most one of them is ever applied.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence

from keyfold.store.errors import LeaseGone, OutcomeUnknown, StoreUnavailable
from keyfold.store.interface import Delete, KeyValue, Op, Put, Store, TxnResult, Unchanged

_PAUSE_SECONDS = 0.05


def settle(
    store: Store,
    compares: Sequence[Unchanged],
    ops: Sequence[Op],
    *,
    timeout_seconds: float,
) -> TxnResult:
    """`Store.txn`, repeated while its outcome is unknown and there is time.

    At least one key must be both compared and written: once applied, the transaction can then not be applied again.
    Succeeds also when the repetition finds that the compared keys are exactly what the transaction writes, and so of
    one revision; keys written without a compare do not tell. If it was applied and someone has already overwritten
    it, the result reads as lost, and `current` is what holds.
    Raises as `Store.txn`; OutcomeUnknown only when the time was not enough to settle it.
    """
    if {op.key for op in ops}.isdisjoint(compare.key for compare in compares):
        raise ValueError("only a transaction that compares a key it writes can be repeated")
    deadline = time.monotonic() + timeout_seconds
    doubt: OutcomeUnknown | None = None
    while True:
        try:
            result = store.txn(compares, ops, timeout_seconds=_share(deadline - time.monotonic()))
        except OutcomeUnknown as error:
            doubt = error
        except StoreUnavailable as error:
            # This repetition was not done, but the first attempt may have been. LeaseGone comes after the
            # compares held.
            if doubt is None or isinstance(error, LeaseGone):
                raise
        else:
            revision = None if doubt is None or result.succeeded else _written_at(ops, result.current)
            return result if revision is None else TxnResult(True, revision or result.revision, {})
        if time.monotonic() + _PAUSE_SECONDS >= deadline:
            raise doubt
        time.sleep(_PAUSE_SECONDS)


def _share(remaining: float) -> float:
    """Half of what is left, so that a lost answer leaves time to repeat; never so short that no answer can come."""
    return max(remaining / 2, 0.5)


def _written_at(ops: Sequence[Op], current: Mapping[str, KeyValue | None]) -> int | None:
    """The revision at which `current` came to be what `ops` write; 0 if only deletes, None if it is something else."""
    revisions = set()
    for op in ops:
        if op.key not in current:
            continue
        found = current[op.key]
        if isinstance(op, Delete):
            if found is not None:
                return None
        elif isinstance(op, Put):
            if found is None or found.value != op.value:
                return None
            revisions.add(found.mod_revision)
    if len(revisions) > 1:
        return None
    return revisions.pop() if revisions else 0
