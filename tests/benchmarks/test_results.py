"""What stands in results.json, and that the page says exactly that."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from benchmarks.keyfold_bench import document, results
from benchmarks.keyfold_bench.figures import FIGURES
from benchmarks.keyfold_bench.page import page
from benchmarks.keyfold_bench.results import Run

ISSUE_2 = {
    "commit_added_over_etcd_txn": "≤ 2",
    "usable_elsewhere_p50_ms": "≤ 50",
    "usable_elsewhere_p99_ms": "≤ 250",
    "commit_10k_over_100": "≤ 1.2",
    "join_10k_seconds": "≤ 30",
    "agent_idle_core_fraction": "≤ 0.01",
    "agent_rss_10k_mb": "≤ 120",
    "sign_in_process_over_bare": "≥ 0.97",
    "sign_remote_over_plain_path": "≥ 0.95",
    "site_no_change_seconds": "≤ 30",
    "demo_cold_seconds": "≤ 480",
    "demo_warm_seconds": "≤ 180",
}
ISSUE_4 = {
    "backup_100k_over_pipe": "≤ 1.5",
    "backup_100k_over_restic": "≤ 0.6",
    "backup_rss_mb": "≤ 200",
    "restore_one_of_100k_seconds": "≤ 3",
    "restore_1000_partition_seconds": "≤ 15",
    "restore_100k_over_restic": "≤ 1.5",
    "verify_over_sha256sum": "≥ 0.8",
}
ISSUE_3 = {
    "partitions_1000_first_seconds": "≤ 300",
    "partitions_1000_no_change_seconds": "≤ 5",
    "partitions_1000_one_changed_seconds": "≤ 8",
}


def test_the_goals_are_those_of_the_issues() -> None:
    goals = {name: str(figure.goal) for name, figure in FIGURES.items() if figure.goal is not None}
    assert goals == {**ISSUE_2, **ISSUE_3, **ISSUE_4}


def test_a_figure_is_the_median_of_its_runs_and_says_whether_the_goal_is_met() -> None:
    entry = results.entry("sign_in_process_over_bare", [Run(0.96), Run(0.97123456), Run(0.99)])
    assert (entry["value"], entry["goal"], entry["met"]) == (0.9712, "≥ 0.97", True)
    assert results.entry("sign_in_process_over_bare", [Run(0.96)])["met"] is False


def test_where_nodes_are_the_runs_the_highest_counts() -> None:
    assert results.entry("agent_rss_10k_mb", [Run(80), Run(130), Run(90)])["met"] is False


def test_without_a_goal_nothing_is_met_or_missed() -> None:
    entry = results.entry("site_cold_seconds", [Run(100.0)])
    assert (entry["goal"], entry["met"]) == (None, None)


def test_entries_that_were_not_measured_stay(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.save(path, {"demo_cold_seconds": [Run(400.0)], "demo_warm_seconds": [Run(100.0)]})
    results.save(path, {"demo_warm_seconds": [Run(120.0)], "site_cold_seconds": [Run(90.0)]})
    assert {name: entry["value"] for name, entry in results.load(path).items()} == {
        "demo_cold_seconds": 400.0,
        "demo_warm_seconds": 120.0,
        "site_cold_seconds": 90.0,
    }


def test_lists_of_samples_take_one_line_each(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    results.save(path, {"usable_elsewhere_p50_ms": [Run(7.5, {"samples_ms": [1.0, 1e-05, 14.0]})]})
    assert '"samples_ms": [ 1.0, 1e-05, 14.0 ]\n' in path.read_text()
    json.loads(path.read_text())


@pytest.fixture(scope="module")
def recorded() -> dict[str, results.Entry]:
    return results.load(document.RESULTS)


def test_every_recorded_entry_follows_from_its_runs(recorded: dict[str, results.Entry]) -> None:
    assert set(recorded) <= set(FIGURES)
    for name, entry in recorded.items():
        runs = [
            Run(run["value"], {key: value for key, value in run.items() if key != "value"}) for run in entry["runs"]
        ]
        assert entry == results.entry(name, runs)


def test_the_page_and_its_plots_are_what_the_results_give(recorded: dict[str, results.Entry]) -> None:
    assert document.stale(document.ROOT / "docs", document.documents(recorded)) == []


def test_a_changed_figure_makes_the_page_stale(recorded: dict[str, results.Entry]) -> None:
    name = next(iter(recorded))
    changed = {**recorded, name: {**recorded[name], "value": -1.0}}
    assert document.stale(document.ROOT / "docs", document.documents(changed)) == ["benchmarks.md"]


def test_a_plot_that_nothing_draws_any_more_is_stale(tmp_path: Path) -> None:
    (tmp_path / "benchmarks").mkdir()
    (tmp_path / "benchmarks" / "old.svg").touch()
    assert document.stale(tmp_path, {}) == ["benchmarks/old.svg"]


def test_a_missed_goal_is_said_above_the_details() -> None:
    text = page({"usable_elsewhere_p50_ms": results.entry("usable_elsewhere_p50_ms", [Run(60.0)])}, {})
    assert "| `usable_elsewhere_p50_ms` | 60 ms | ≤ 50 | **no** | 60 |" in text
    assert "**Not met:** `usable_elsewhere_p50_ms`." in text


def test_why_a_goal_was_missed_is_said_only_where_it_was() -> None:
    missed = page({"verify_over_sha256sum": results.entry("verify_over_sha256sum", [Run(0.5)])}, {})
    met = page({"verify_over_sha256sum": results.entry("verify_over_sha256sum", [Run(0.9)])}, {})
    reason = FIGURES["verify_over_sha256sum"].missed
    assert reason in missed
    assert reason not in met


def test_the_page_links_only_plots_that_exist(recorded: dict[str, results.Entry]) -> None:
    wanted = document.documents(recorded)
    links = re.findall(r"!\[[^]]*\]\(([^)]*)\)", wanted["benchmarks.md"])
    assert links
    assert set(links) == set(wanted) - {"benchmarks.md"}
