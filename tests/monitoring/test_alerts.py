"""Rules, runbooks, the metrics' page and the code speak of the same things."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyfold.metrics.collect import Answers, collect
from keyfold.metrics.text import PREFIX

ROOT = Path(__file__).parents[2]
ALERTS = ROOT / "docs/runbooks/alerts"
RULES: list[dict[str, Any]] = [
    rule
    for group in yaml.safe_load((ROOT / "roles/monitoring/files/keyfold.rules.yml").read_text())["groups"]
    for rule in group["rules"]
]
CASES = [
    case
    for file in (ROOT / "tests/monitoring").glob("keyfold.rules*.test.yml")
    for test in yaml.safe_load(file.read_text())["tests"]
    for case in test["alert_rule_test"]
]
NOW = "2026-11-25T00:00:00.000000Z"
PARTITION = {
    "name": "acme",
    "package": "ECO",
    "backup": True,
    "created": NOW,
    "live_bytes": 1,
    "invalidated_bytes": 0,
    "policy": {"max_size_bytes": 1},
    "locked": {"user": NOW},
}
STATUS = {
    "cluster": {"created": NOW},
    "etcd": [{"name": "hsm1", "healthy": True}],
    "nodes": [{"name": "hsm1", "agent": "up", "lag": 0}],
    "partitions": [PARTITION],
    "audit": {"pending": 0, "oldest_pending_seconds": None},
}
SET = {"sequence": 1, "created": NOW, "partitions": ["acme"], "differences": [], "verified": True}
MEDIUM = {
    "id": "20261124-0a0b0c0d",
    "name": "vault",
    "device": "-",
    "partitions": ["acme"],
    "ticket": "-",
    "reason": "-",
    "by": "-",
    "node": "hsm3",
    "created": NOW,
    "due": NOW,
    "recipient": "-",
    "key_fingerprint": "-",
    "files": [],
    "destroyed": None,
}
GONE = {**MEDIUM, "id": "20261124-00000000", "state": "destroyed"}
DRILL = {"started": NOW, "passed": True, "seconds": 1}


def collected() -> set[str]:
    answers = Answers(
        node="hsm3",
        version="1",
        now=datetime.now(UTC),
        status=STATUS,
        backup_sets={"a": SET},
        drills={"a": DRILL},
        media={one["id"]: one for one in (MEDIUM, GONE)},
        store=(True, 1),
    )
    return {PREFIX + family.name for family in collect(answers) if family.samples}


def of_expiry() -> set[str]:
    return set(re.findall(r'"(keyfold_expiry_\w+)":', (ROOT / "node/keyfold/expiry/main.py").read_text()))


def test_every_alert_has_a_runbook_and_every_runbook_an_alert() -> None:
    assert sorted(path.stem for path in ALERTS.iterdir()) == sorted(rule["alert"] for rule in RULES)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_rule_names_only_metrics_that_are_collected(rule: dict[str, Any]) -> None:
    named = set(re.findall(r"keyfold_\w+", rule["expr"]))
    assert named
    assert named <= collected() | of_expiry()


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule["alert"])
def test_a_runbook_says_what_it_means_how_to_see_and_what_to_do(rule: dict[str, Any]) -> None:
    text = (ALERTS / f"{rule['alert']}.md").read_text()
    assert text.startswith(f"# {rule['alert']}\n\n")
    assert [line for line in text.splitlines() if line.startswith("## ")] == ["## See", "## Do"]
    for link in re.findall(r"\]\(([^)#]+)", text):
        assert (ALERTS / link).exists(), link


def test_the_page_lists_exactly_the_metrics_there_are() -> None:
    rows = [line for line in (ROOT / "docs/metrics.md").read_text().splitlines() if line.startswith("| `")]
    listed = {PREFIX + name for row in rows for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert listed == collected() | of_expiry()


def test_every_alert_is_tested_with_promtool() -> None:
    tried = {case["alertname"] for case in CASES if case["exp_alerts"]}
    assert tried == {rule["alert"] for rule in RULES}


def test_every_alert_says_how_severe_it_is() -> None:
    assert {rule["labels"]["severity"] for rule in RULES} == {"critical", "warning"}
