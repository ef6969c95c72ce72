"""What the figures say when all is well, when something was never done, and when nobody answers."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from keyfold.metrics.collect import Answers, collect
from keyfold.package import Package

NOW = datetime(2026, 11, 25, tzinfo=UTC)
PACKAGES = {
    name: Package(name, 100, backup) for name, backup in (("SBX", "never"), ("ECO", "always"), ("PLATINUM", "order"))
}


def partition(name: str, package: str = "ECO", *, backup: bool = False, **locked: str) -> dict[str, Any]:
    return {
        "name": name,
        "package": package,
        "backup": backup,
        "created": "2026-11-01T00:00:00.000000Z",
        "live_bytes": 30,
        "invalidated_bytes": 20,
        "policy": {"max_size_bytes": 100},
        "locked": locked,
    }


def backup_set(
    sequence: int, day: int, *names: str, verified: bool = True, differences: int = 0, retention_class: str = "daily"
) -> dict[str, Any]:
    return {
        "retention_class": retention_class,
        "sequence": sequence,
        "created": f"2026-11-{day:02}T00:00:00.000000Z",
        "partitions": list(names),
        "differences": [{}] * differences,
        "verified": verified,
    }


def drill(day: int, *, passed: bool) -> dict[str, Any]:
    return {"started": f"2026-11-{day:02}T00:00:00.000000Z", "passed": passed, "seconds": 7}


STATUS: dict[str, Any] = {
    "cluster": {"created": "2026-11-01T00:00:00.000000Z"},
    "etcd": [{"name": "hsm1", "healthy": True}, {"name": "hsm2", "healthy": False}],
    "nodes": [
        {"name": "hsm1", "agent": "up", "lag": 3, "conflicts": 1, "problem": "disk"},
        {"name": "hsm2", "agent": "down", "lag": None},
    ],
    "partitions": [partition("acme", user="later"), partition("test", "SBX"), partition("big", "PLATINUM")],
    "audit": {"pending": 2, "oldest_pending_seconds": 8.5},
}
ANSWERS = Answers(node="hsm3", version="1", now=NOW, status=STATUS, packages=PACKAGES)


def figures(answers: Answers) -> dict[str, float]:
    """`name` or `name{label values}` → value."""
    return {
        family.name + ("{" + ",".join(sample.labels.values()) + "}" if sample.labels else ""): float(sample.value)
        for family in collect(answers)
        for sample in family.samples
    }


def at(day: int) -> float:
    return datetime(2026, 11, day, tzinfo=UTC).timestamp()


def test_nodes_members_audit_and_logins_are_told() -> None:
    found = figures(ANSWERS)
    assert (found["node_up{hsm1}"], found["node_up{hsm2}"]) == (1, 0)
    assert (found["etcd_member_up{hsm1}"], found["etcd_member_up{hsm2}"]) == (1, 0)
    assert (found["node_lag_revisions{hsm1}"], found["node_problem{hsm1}"], found["node_conflicts{hsm1}"]) == (3, 1, 1)
    assert "node_lag_revisions{hsm2}" not in found
    assert (found["audit_pending_notes"], found["audit_pending_seconds"]) == (2, 8.5)
    assert found["partition_login_locked{acme,user}"] == 1
    assert (found["partition_bytes{acme}"], found["partition_quota_bytes{acme}"]) == (50, 100)


def test_never_backed_up_is_zero_and_only_for_whom_it_concerns() -> None:
    found = figures(ANSWERS)
    assert found["partition_verified_set_timestamp_seconds{acme}"] == 0
    assert "partition_verified_set_timestamp_seconds{test}" not in found
    assert "partition_verified_set_timestamp_seconds{big}" not in found
    assert found["backup_newest_set_timestamp_seconds"] == found["drill_passed_timestamp_seconds"] == 0
    assert "backup_differences" not in found
    assert "drill_last_passed" not in found
    ordered = replace(ANSWERS, status={**STATUS, "partitions": [partition("big", "PLATINUM", backup=True)]})
    assert figures(ordered)["partition_verified_set_timestamp_seconds{big}"] == 0


def test_a_partition_of_an_unknown_package_is_not_overlooked() -> None:
    unknown = replace(ANSWERS, status={**STATUS, "partitions": [partition("odd", "OTHER")]})
    assert figures(unknown)["partition_verified_set_timestamp_seconds{odd}"] == 0


def test_the_newest_verified_set_of_each_partition_counts() -> None:
    sets = {
        "a": backup_set(1, 20, "acme", differences=5),
        "b": backup_set(2, 22, "acme", "other", differences=2),
        "c": backup_set(3, 23, "other"),
        "d": backup_set(2, 24, "acme", verified=False),
    }
    found = figures(replace(ANSWERS, backup_sets=sets))
    assert found["partition_verified_set_timestamp_seconds{acme}"] == at(22)
    assert (found["backup_newest_set_timestamp_seconds"], found["backup_differences"]) == (at(23), 0)
    assert figures(replace(ANSWERS, backup_sets={"b": sets["b"]}))["backup_differences"] == 2


def test_a_restores_safety_set_is_no_backup() -> None:
    sets = {"a": backup_set(1, 20, "acme"), "b": backup_set(2, 22, "acme", retention_class="safety")}
    found = figures(replace(ANSWERS, backup_sets=sets))
    assert found["backup_newest_set_timestamp_seconds"] == at(20)
    assert found["partition_verified_set_timestamp_seconds{acme}"] == at(20)


def test_a_failed_drill_does_not_hide_when_one_passed() -> None:
    found = figures(replace(ANSWERS, drills={"a": drill(10, passed=True), "b": drill(17, passed=False)}))
    assert found["drill_passed_timestamp_seconds"] == at(10)
    assert (found["drill_last_passed"], found["drill_last_seconds"]) == (0, 7)


def test_who_does_not_answer_is_a_figure_and_the_rest_is_left_out() -> None:
    found = figures(replace(ANSWERS, status=None, problem="agent_down"))
    assert (found["agent_up"], found["etcd_quorum"]) == (0, 0)
    assert set(found) == {"metrics_timestamp_seconds", "agent_up", "etcd_quorum", "node_info{hsm3,1}"}
    found = figures(replace(ANSWERS, status=None, problem="no_quorum"))
    assert (found["agent_up"], found["etcd_quorum"]) == (1, 0)


def test_the_store_is_told_where_it_is_reached_and_its_room_where_it_says() -> None:
    assert "store_up" not in figures(ANSWERS)
    assert figures(replace(ANSWERS, store=(False, None)))["store_up"] == 0
    found = figures(replace(ANSWERS, store=(True, None)))
    assert (found["store_up"], "store_free_bytes" in found) == (1, False)
    assert figures(replace(ANSWERS, store=(True, 12)))["store_free_bytes"] == 12
