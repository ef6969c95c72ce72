"""Time bare etcd transactions of the shape and size of a commit: etcd_txn.py TOKEN_DIRECTORY; operation `txn`.

The transaction is the one the agent's own publisher writes for a new P-256 pair, whose two files are the newest in the
directory: the same compares, keys of the same length, values of the same size. It goes through the agent's own client
to the same members, but under a prefix that no agent follows.
"""

import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import cast

from benchmarks.programs.subscriber import serve
from keyfold import config
from keyfold.clock import SystemClock
from keyfold.replication import keys
from keyfold.replication.changes import Change, metadata
from keyfold.replication.publish import Publisher
from keyfold.replication.sealed import DataKeySealer, StoredObject
from keyfold.replication.usage import Ledger
from keyfold.store import open_store
from keyfold.store.interface import Delete, Op, Put, Store, TxnResult, Unchanged
from keyfold.token.object_file import describe, identity

_PREFIX = keys.PREFIX.replace("v1", "b1")


class Recorder:
    """Stands in for the store when the publisher writes, and keeps what it was given."""

    def __init__(self) -> None:
        self.compares: list[Unchanged] = []
        self.ops: list[Op] = []

    def get(self, key: str) -> None:
        """No figures yet: the commit writes the partition's first."""

    def txn(self, compares: Sequence[Unchanged], ops: Sequence[Op], *, timeout_seconds: float) -> TxnResult:
        self.compares = [Unchanged(_elsewhere(compare.key), compare.mod_revision) for compare in compares]
        self.ops = [_moved(op) for op in ops]
        return TxnResult(succeeded=True, revision=1, current={})


def _elsewhere(key: str) -> str:
    return _PREFIX + key.removeprefix(keys.PREFIX)


def _moved(op: Op) -> Op:
    return Delete(_elsewhere(op.key)) if isinstance(op, Delete) else Put(_elsewhere(op.key), op.value)


def _pair(directory: Path) -> list[bytes]:
    files = [path for path in directory.glob("*/*.object") if path.name != "token.object"]
    return [path.read_bytes() for path in sorted(files, key=lambda path: path.stat().st_mtime_ns)[-2:]]


def main() -> None:
    pair = _pair(Path(sys.argv[1]))
    hints = [{"class": describe(data).object_class, "label": "00" * 12, "id": "00" * 12} for data in pair]
    recorder = Recorder()
    sealer = DataKeySealer(bytes(32))
    store = open_store(config.load().etcd)

    def txn() -> Mapping[str, float]:
        contents = {f"{uuid.uuid4()}.object": data for data in pair}
        metas = metadata({file: describe(data) for file, data in contents.items()}, hints, {}, "2026-01-01T00:00:00Z")
        changes = [Change(file, 0, StoredObject(metas[file], data), identity(data)) for file, data in contents.items()]
        # Another partition each time, so that its figures are written as new ones are: nothing to read first.
        name = uuid.uuid4().hex[:8]
        ledger = Ledger(cast("Store", recorder), name, lambda: None)
        publisher = Publisher(ledger, sealer, SystemClock(), "hsm1", name)
        publisher.publish(
            changes,
            what="commit create",
            caller="partition acme",
            before={},
            keep_destroyed=True,
            timeout_seconds=5.0,
        )
        begun = time.monotonic()
        result = store.txn(recorder.compares, recorder.ops)
        seconds = time.monotonic() - begun
        if not result.succeeded:
            sys.exit("the transaction lost a comparison")
        return {"seconds": seconds}

    serve({"txn": txn})


main()
