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
from keyfold.json_bytes import canonical
from keyfold.replication.decide import Known
from keyfold.replication.sealed import StoredObject

log = logging.getLogger(__name__)

_SCHEMA = """
CREATE TABLE IF NOT EXISTS base (
  partition TEXT NOT NULL, file TEXT NOT NULL, revision INTEGER NOT NULL,
  digest TEXT, meta TEXT, data BLOB,
  PRIMARY KEY (partition, file)) WITHOUT ROWID;
CREATE TABLE IF NOT EXISTS trusted (partition TEXT NOT NULL PRIMARY KEY) WITHOUT ROWID;
"""
_DAMAGED = ".damaged"
_VERSION = 1


@dataclass(frozen=True, slots=True)
class Row:
    """`known.digest` and `content` are None together: committed as deleted."""

    file: str
    known: Known
    content: StoredObject | None


def open_base(path: Path) -> Base:
    """The base at `path`; one that is damaged is set aside as `<name>.damaged` and begun anew.

    Nothing committed is lost: the node compares with etcd, and a file that differs, or that etcd does not have, is kept
    as a conflict: without a base nobody can tell a new file from one that was destroyed meanwhile.
    """
    try:
        return Base(path)
    except sqlite3.OperationalError:
        raise
    except sqlite3.DatabaseError as error:
        log.warning("%s is damaged (%s): set aside, and made again from etcd", path, error)
    path.replace(path.with_name(path.name + _DAMAGED))
    for companion in ("-wal", "-shm"):
        path.with_name(path.name + companion).unlink(missing_ok=True)
    return Base(path)


class Base:
    """Thread-safe; every call is one SQLite transaction. What writes raises KeyfoldError `disk`."""

    def __init__(self, path: Path | str) -> None:
        self._path = Path(path)
        self._lock = threading.Lock()
        self._db = sqlite3.connect(path, check_same_thread=False, isolation_level=None)
        (verdict,) = self._db.execute("PRAGMA quick_check(1)").fetchone()
        if verdict != "ok":
            raise sqlite3.DatabaseError(verdict)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        # What is deleted is overwritten: a destroyed key must not stay in free pages.
        self._db.execute("PRAGMA secure_delete=ON")
        self._db.executescript(_SCHEMA)
        self._bring_up_to_date()

    def _bring_up_to_date(self) -> None:
        """Before version 1, metadata were not canonical."""
        (version,) = self._db.execute("PRAGMA user_version").fetchone()
        if version >= _VERSION:
            return
        rows = self._db.execute("SELECT partition, file, meta FROM base WHERE meta IS NOT NULL").fetchall()
        with self._transaction():
            self._db.executemany(
                "UPDATE base SET meta = ? WHERE partition = ? AND file = ?",
                [(canonical(json.loads(meta)).decode(), partition, file) for partition, file, meta in rows],
            )
            self._db.execute(f"PRAGMA user_version = {_VERSION}")

    def known(self, partition: str) -> dict[str, Known]:
        with self._lock:
            rows = self._db.execute(
                "SELECT file, revision, digest FROM base WHERE partition = ?", (partition,)
            ).fetchall()
        return {file: Known(revision, digest) for file, revision, digest in rows}

    def listed(self, partition: str) -> dict[str, tuple[int, str, str]]:
        """File → (revision, digest, metadata as canonical JSON) of every object that is committed as live."""
        with self._lock:
            rows = self._db.execute(
                "SELECT file, revision, digest, meta FROM base WHERE partition = ? AND digest IS NOT NULL", (partition,)
            ).fetchall()
        return {file: (revision, digest, meta) for file, revision, digest, meta in rows}

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

    def trusted(self, partition: str) -> bool:
        """Whether this base has been compared with etcd since it was begun; one that was lost begins untrusted."""
        with self._lock:
            found = self._db.execute("SELECT 1 FROM trusted WHERE partition = ?", (partition,)).fetchone()
        return found is not None

    def trust(self, partition: str) -> None:
        if not self.trusted(partition):
            with self._transaction():
                self._db.execute("INSERT OR IGNORE INTO trusted VALUES (?)", (partition,))

    def scrub(self) -> None:
        """Leave nothing of deleted content on disk: not in the write-ahead log, nor in a damaged base set aside."""
        self._path.with_name(self._path.name + _DAMAGED).unlink(missing_ok=True)
        with self._lock:
            try:
                self._db.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
            except sqlite3.Error as error:
                log.error("base.sqlite: the write-ahead log could not be emptied: %s; it is with the next purge", error)

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
            meta = None if row.content is None else canonical(row.content.meta).decode()
            data = None if row.content is None else row.content.data
            yield partition, row.file, row.known.revision, row.known.digest, meta, data
