"""What is measured, out of the agent's answers. Pure; docs/metrics.md and the alert rules name these metrics."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from keyfold.backup import sets
from keyfold.media.register import of_rows
from keyfold.metrics.text import Family, Sample, each, one
from keyfold.package import Package

NEVER = 0.0

Rows = Sequence[Mapping[str, Any]]
Records = Mapping[str, Mapping[str, Any]]


@dataclass(frozen=True, slots=True)
class Answers:
    """`status` is the agent's reply, `problem` the code of its error if there was none; records by ID.

    `store`: (whether it answers, free bytes if it says) where this node reaches it, else None.
    """

    node: str
    version: str
    now: datetime
    status: Mapping[str, Any] | None
    problem: str = ""
    backup_sets: Records = field(default_factory=dict)
    drills: Records = field(default_factory=dict)
    media: Records = field(default_factory=dict)
    packages: Mapping[str, Package] = field(default_factory=dict)
    store: tuple[bool, int | None] | None = None


def collect(answers: Answers) -> list[Family]:
    """What is not known has no sample: an alert on what is missing is an alert of its own."""
    return list(_all(answers))


def _all(answers: Answers) -> Iterator[Family]:
    yield one("metrics_timestamp_seconds", "When these figures were collected.", answers.now.timestamp())
    yield one("agent_up", "Whether this node's agent answers.", answers.problem != "agent_down")
    yield one("etcd_quorum", "Whether etcd has a majority, seen from this node.", answers.status is not None)
    yield Family("node_info", "This node.", (Sample(1, {"node": answers.node, "version": answers.version}),))
    if answers.status is not None:
        yield from _cluster(answers.status)
        backups = sets.without_safety(answers.backup_sets)
        yield from _partitions(answers.status["partitions"], backups, answers.packages)
        yield from _backup(backups)
        yield from _drill(answers.drills)
        yield from _media(answers.media, answers.now)
    if answers.store is not None:
        yield one("store_up", "Whether the backup store answers this node.", answers.store[0])
        if answers.store[1] is not None:
            yield one("store_free_bytes", "Free bytes, if the store says (RFC 4331).", answers.store[1])


def _cluster(status: Mapping[str, Any]) -> Iterator[Family]:
    nodes: Rows = status["nodes"]
    live = [row for row in nodes if row["agent"] == "up"]
    audit = status["audit"]
    if status["cluster"]:
        yield one(
            "cluster_created_timestamp_seconds", "When the cluster was founded.", _at(status["cluster"]["created"])
        )
    yield each(
        "etcd_member_up",
        "Whether this member of etcd is healthy.",
        "member",
        ((row["name"], row["healthy"]) for row in status["etcd"]),
    )
    yield each("node_up", "Whether this node's heartbeat comes.", "node", ((row["name"], row in live) for row in nodes))
    yield each(
        "node_lag_revisions",
        "etcd revisions that this node has not applied.",
        "node",
        ((row["name"], row["lag"]) for row in live),
    )
    yield each(
        "node_problem",
        "Whether something keeps this node from being level with etcd.",
        "node",
        ((row["name"], bool(row.get("problem"))) for row in live),
    )
    yield each(
        "node_conflicts",
        "Local changes that lost and are kept on this node.",
        "node",
        ((row["name"], row.get("conflicts", 0)) for row in live),
    )
    yield one("audit_pending_notes", "Audit notes that are not in the chain yet.", audit["pending"])
    yield one("audit_pending_seconds", "Age of the oldest of them.", audit["oldest_pending_seconds"] or 0)


def _partitions(rows: Rows, backup_sets: Records, packages: Mapping[str, Package]) -> Iterator[Family]:
    covered = [row for row in rows if _entitled(row, packages)]
    newest = _newest_sets(backup_sets.values())
    yield each(
        "partition_created_timestamp_seconds",
        "When the partition was made; of those that are backed up.",
        "partition",
        ((row["name"], _at(row["created"])) for row in covered),
    )
    yield each(
        "partition_verified_set_timestamp_seconds",
        "When the newest backup set with this partition was made, read back and signed; 0: never.",
        "partition",
        ((row["name"], newest.get(row["name"], NEVER)) for row in covered),
    )
    yield each(
        "partition_bytes",
        "Bytes that count towards the partition's quota.",
        "partition",
        ((row["name"], row["live_bytes"] + row["invalidated_bytes"]) for row in rows),
    )
    yield each(
        "partition_quota_bytes",
        "The partition's quota.",
        "partition",
        ((row["name"], row["policy"]["max_size_bytes"]) for row in rows),
    )
    yield Family(
        "partition_login_locked",
        "Logins that are locked after too many failures.",
        tuple(Sample(1, {"partition": row["name"], "user": user}) for row in rows for user in sorted(row["locked"])),
    )


def _entitled(row: Mapping[str, Any], packages: Mapping[str, Package]) -> bool:
    package = packages.get(row["package"])
    # A package that this node does not know: an alarm too many rather than one too few.
    return package is None or package.backup == "always" or (package.backup == "order" and bool(row["backup"]))


def _newest_sets(records: Iterable[Mapping[str, Any]]) -> dict[str, float]:
    newest: dict[str, float] = {}
    for record in records:
        if record["verified"]:
            for name in record["partitions"]:
                newest[name] = max(newest.get(name, NEVER), _at(record["created"]))
    return newest


def _backup(records: Records) -> Iterator[Family]:
    newest = max(records.values(), key=lambda record: int(record["sequence"]), default=None)
    yield one(
        "backup_newest_set_timestamp_seconds",
        "When the newest backup set was made; 0: never.",
        NEVER if newest is None else _at(newest["created"]),
    )
    if newest is not None:
        yield one(
            "backup_differences",
            "Files of the backing node's HSM that were not as committed, in the newest set.",
            len(newest["differences"]),
        )


def _drill(records: Records) -> Iterator[Family]:
    newest = max(records.values(), key=lambda record: str(record["started"]), default=None)
    passed = [_at(record["started"]) for record in records.values() if record["passed"]]
    yield one(
        "drill_passed_timestamp_seconds", "When the newest drill that passed began; 0: never.", max(passed, default=0)
    )
    if newest is not None:
        yield one("drill_last_passed", "Whether the newest drill passed.", bool(newest["passed"]))
        yield one("drill_last_seconds", "How long it took.", newest["seconds"])


def _media(records: Records, now: datetime) -> Iterator[Family]:
    media = of_rows(records)
    yield each(
        "media_days_left",
        "Days until the key of this offline medium is destroyed; negative: it is overdue.",
        "medium",
        ((one.id, one.left(now) / timedelta(days=1)) for one in media if one.lives),
    )
    yield each(
        "media_uncertified",
        "Offline media whose keys are destroyed, and not certified to be gone from every node and etcd's history.",
        "medium",
        ((one.id, 1) for one in media if not one.lives and not one.certificate),
    )


def _at(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()
