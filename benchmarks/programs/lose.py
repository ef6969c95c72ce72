"""Lose all objects of partitions, their tokens apart: lose.py PARTITION…, as root. No copy is kept as invalidated.

What a disaster would do; no command of Keyfold's can. They go out of etcd, hence from every node, and out of etcd's
history, so that losing and restoring them again and again does not fill it.
"""

import sys
from pathlib import Path

from keyfold import config
from keyfold.replication import keys
from keyfold.replication.usage import live
from keyfold.store import open_store
from keyfold.store.interface import Delete, Op, Put, Store

_OPERATIONS = 100


def _lose(store: Store, partition: str) -> None:
    (token,) = Path(f"/var/lib/keyfold/partitions/{partition}/tokens").glob("*/token.object")
    scan = store.scan(keys.objects(partition), keys_only=True)
    everything = [item.key for item in scan if item.key != keys.live(partition, token.name)]
    figures = Put(keys.usage(partition), live(token.stat().st_size).encode())
    for start in range(0, len(everything), _OPERATIONS):
        deletions: list[Op] = [Delete(key) for key in everything[start : start + _OPERATIONS]]
        store.txn((), [Put(keys.HEAD, b""), figures, *deletions])


def main() -> None:
    with open_store(config.load().etcd) as store:
        for partition in sys.argv[1:]:
            _lose(store, partition)
        store.compact(store.revision())


main()
