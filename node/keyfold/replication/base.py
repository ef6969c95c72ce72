"""The last committed state of every object on this node, on disk: undo, repair and conflict detection start from it.

Losing the newest rows (power loss) is safe: `decide.reconcile` then meets a file equal to etcd's, or keeps a copy.
"""

from __future__ import annotations

import json
import logging
import sqlite3
import threading
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from keyfold.errors import KeyfoldError
from keyfold.replication.decide import Known
from keyfold.replication.sealed import StoredObject

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS base (
  partition TEXT NOT NULL, file TEXT NOT NULL, revision INTEGER NOT NULL,
  digest TEXT, meta TEXT, data BLOB,
  PRIMARY KEY (partition, file)) WITHOUT ROWID
"""


@dataclass(frozen=True, slots=True)
class Row:
    """`known.digest` and `content` are None together: committed as deleted."""

    file: str
    known: Known
    content: StoredObject | None


def open_base(path: Path) -> Base:
    """The base at `path`; one that is damaged is set aside as `<name>.damaged` and begun anew.

    Nothing committed is lost: the node compares with etcd, and a file that differs is kept as a conflict. One that etcd
    does not have is offered; etcd refuses it if it was invalidated, and only then is known to have been destroyed.
    """
    try:
        return Base(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.warning("%s is damaged (%s): set aside, and made again from etcd", path, error)
    path.replace(path.with_name(path.name + ".damaged"))
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    return Base(path)


class Base:
    """Thread-safe; every call is one SQLite transaction. What writes raises KeyfoldError `disk`."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.execute(_SCHEMA)

    def known(self, partition: str) -> dict[str, Known]:
        with self._lock:
            rows = self._db.execute(
                "SELECT file, revision, digest FROM base WHERE partition = ?", (partition,)
            ).fetchall()
        return {file: Known(revision, digest) for file, revision, digest in rows}

    def content(self, partition: str, file: str) -> StoredObject | None:
        with self._lock:
            row = self._db.execute(
                "SELECT meta, data FROM base WHERE partition = ? AND file = ?", (partition, file)
            ).fetchone()
        return None if row is None or row[1] is None else StoredObject(json.loads(row[0]), bytes(row[1]))

    def put(self, partition: str, rows: Iterable[Row]) -> None:
        values = list(self._values(partition, rows))
        with self._transaction():
            self._db.executemany("INSERT OR REPLACE INTO base VALUES (?, ?, ?, ?, ?, ?)", values)

    def forget(self, partition: str, files: Iterable[str]) -> None:
        with self._transaction():
            self._db.executemany(
                "DELETE FROM base WHERE partition = ? AND file = ?", [(partition, file) for file in files]
            )

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        """All or nothing; KeyfoldError `disk` if SQLite could not, and the next transaction starts afresh."""
        with self._lock:
            try:
                self._db.execute("BEGIN")
                yield
                self._db.execute("COMMIT")
            except sqlite3.Error as error:
                raise KeyfoldError(
                    "disk",
                    f"the agent's base.sqlite cannot be written: {error}",
                    not_done="this node did not note what is committed; it compares with etcd again",
                    next_step="look at the disk: df -h /var/lib/keyfold; dmesg | tail",
                ) from error
            finally:
                if self._db.in_transaction:
                    self._db.execute("ROLLBACK")

    def close(self) -> None:
        with self._lock:
            self._db.close()

    @staticmethod
    def _values(partition: str, rows: Iterable[Row]) -> Iterator[tuple[object, ...]]:
        for row in rows:
            meta = None if row.content is None else json.dumps(row.content.meta)
            data = None if row.content is None else row.content.data
            yield partition, row.file, row.known.revision, row.known.digest, meta, data
