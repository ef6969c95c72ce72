"""The files of a whole token in etcd: as they stand there, and as new ones get there. The rest is replication's."""

from __future__ import annotations

from collections.abc import Mapping

from keyfold.replication import keys
from keyfold.replication.changes import metadata
from keyfold.replication.sealed import Sealer, StoredObject
from keyfold.store.interface import KeyValue, Put, Store
from keyfold.token.object_file import describe


def stored(store: Store, partition: str, sealer: Sealer) -> dict[str, tuple[KeyValue, StoredObject]]:
    """What is live, by file; KeyfoldError `refused` as the sealer."""
    prefix = keys.objects(partition)
    return {item.key.removeprefix(prefix): (item, sealer.open(item.key, item.value)) for item in store.scan(prefix)}


def live_puts(partition: str, files: Mapping[str, bytes], sealer: Sealer, created: str) -> list[Put]:
    """What makes files that Keyfold has made itself live; `created`: RFC 3339. Raises TornFile."""
    metas = metadata({file: describe(data) for file, data in files.items()}, (), {}, created)
    puts = []
    for file, data in files.items():
        key = keys.live(partition, file)
        puts.append(Put(key, sealer.seal(key, StoredObject(metas[file], data))))
    return puts
