"""The test runner's own judgement: what failed or did not run must never end green."""

from __future__ import annotations

import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ". lab/lib.sh; . lab/summary.sh; results=$1/results; log_dir=$1/logs; summary"


@pytest.fixture
def run(tmp_path: Path) -> Path:
    (tmp_path / "results").mkdir()
    (tmp_path / "logs").mkdir()
    return tmp_path


def step(run: Path, name: str, rc: int, log: str) -> None:
    order = len(list((run / "results").iterdir()))
    (run / "results" / f"{order}-{name}").write_text(f"{name} {rc} 7\n")
    (run / "logs" / f"{name}.log").write_text(log)


def summarise(run: Path) -> tuple[int, str]:
    done = subprocess.run(
        ["bash", "-c", SCRIPT, "test", str(run)], cwd=ROOT, capture_output=True, text=True, check=False
    )
    return done.returncode, done.stdout.splitlines()[-1]


def test_counts_single_tests_of_pytest_and_other_steps_as_one(run: Path) -> None:
    step(run, "unit", 0, "==== 12 passed, 3 skipped in 1.20s ====\n")
    step(run, "scenario", 0, "noise\n=== 4 passed in 2.0s ===\nmore\n=== 5 passed, 1 warning in 61.00s (0:01:01) ===\n")
    step(run, "ruff", 0, "All checks passed!\n")
    assert summarise(run) == (0, "22 passed, 0 failed, 3 skipped")


def test_counts_the_c_tests(run: Path) -> None:
    step(run, "c", 1, "ok 6 - about something\npkcs11: 411 passed, 1 failed; in: test_pkcs11_tool.sh\n")
    assert summarise(run) == (1, "411 passed, 1 failed, 0 skipped")


def test_a_failed_test_fails_the_run(run: Path) -> None:
    step(run, "unit", 1, "=== 2 failed, 12 passed, 1 error in 1.20s ===\n")
    assert summarise(run) == (1, "12 passed, 3 failed, 0 skipped")


def test_a_failed_step_fails_the_run_though_its_tests_passed(run: Path) -> None:
    step(run, "scenario", 2, "=== 9 passed in 1.20s ===\nfatal: [hsm1]\n")
    assert summarise(run) == (1, "9 passed, 1 failed, 0 skipped")


def test_a_failed_test_fails_the_run_though_its_step_returned_0(run: Path) -> None:
    step(run, "scenario", 0, "=== 1 failed in 1.20s ===\n")
    assert summarise(run) == (1, "0 passed, 1 failed, 0 skipped")


def test_a_run_without_any_step_fails(run: Path) -> None:
    assert summarise(run) == (1, "0 passed, 0 failed, 0 skipped")


@pytest.mark.parametrize(
    ("output", "rc"),
    [
        ("WARNING  [x > verify] Executed: Missing playbook (Remove from test_sequence to suppress)", 0),
        ("WARNING  Skipping, no tests found.", 0),
        ("INFO     Verifier completed successfully.", 1),
    ],
)
def test_a_step_that_molecule_skipped_is_noticed(tmp_path: Path, output: str, rc: int) -> None:
    log = tmp_path / "output"
    log.write_text(output + "\n")
    done = subprocess.run(
        ["bash", "-c", '. lab/summary.sh; molecule_skipped "$1"', "test", str(log)], cwd=ROOT, check=False
    )
    assert done.returncode == rc
