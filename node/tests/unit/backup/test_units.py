"""What the timers must say: missed runs are made up for, and no node's timer asks for more than the day's set."""

from __future__ import annotations

from pathlib import Path

import pytest

ROOT = Path(__file__).parents[4]
UNITS = ROOT / "node/systemd"
SCHEDULES = ROOT / "roles/backup/templates"


@pytest.mark.parametrize("job", ["backup", "drill", "expire", "media"])
def test_a_run_that_was_missed_is_made_up_for(job: str) -> None:
    assert "\nPersistent=true\n" in (UNITS / f"keyfold-{job}.timer").read_text()


def test_the_schedule_that_the_role_sets_keeps_it_so() -> None:
    for template in SCHEDULES.iterdir():
        assert "\nPersistent=true" in template.read_text(), template


def test_the_backups_timer_asks_for_the_days_set_and_repeats_a_failed_run() -> None:
    unit = (UNITS / "keyfold-backup.service").read_text()
    assert "ExecStart=/usr/bin/keyfold backup run --daily\n" in unit
    assert "\nRestart=on-failure\n" in unit
