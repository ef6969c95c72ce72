"""What one transaction may hold; checked before anything is sent, the same for every implementation."""

from __future__ import annotations

from collections.abc import Sequence

from keyfold.store.errors import TooLarge
from keyfold.store.interface import MAX_REQUEST_BYTES, MAX_TXN_OPS, Op, Put, Unchanged


def check_txn(compares: Sequence[Unchanged], ops: Sequence[Op]) -> None:
    """Raise TooLarge beyond etcd's limits, ValueError for an empty key or one that is written twice."""
    for what, count in (("compares", len(compares)), ("operations", len(ops))):
        if count > MAX_TXN_OPS:
            raise TooLarge(f"a transaction of {count} {what}; etcd takes {MAX_TXN_OPS}")
    size = sum(len(item.key.encode()) for item in (*compares, *ops))
    size += sum(len(op.value) for op in ops if isinstance(op, Put))
    if size > MAX_REQUEST_BYTES:
        raise TooLarge(f"a transaction of {size} bytes; etcd takes {MAX_REQUEST_BYTES}")
    written = [op.key for op in ops]
    if len(set(written)) != len(written):
        raise ValueError("a key is written twice in one transaction")
    if not all(item.key for item in (*compares, *ops)):
        raise ValueError("an empty key")
