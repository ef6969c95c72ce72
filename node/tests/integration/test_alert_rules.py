"""promtool runs the alert rules on series that must, and must not, raise them (tests/monitoring)."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.container

ROOT = Path(__file__).parents[3]
CASES = sorted(path.name for path in (ROOT / "tests/monitoring").glob("keyfold.rules*.test.yml"))


@pytest.mark.parametrize("cases", CASES)
def test_every_alert_fires_when_it_should_and_not_otherwise(tmp_path: Path, cases: str) -> None:
    for file in ("roles/monitoring/files/keyfold.rules.yml", f"tests/monitoring/{cases}"):
        shutil.copy(ROOT / file, tmp_path)
    done = subprocess.run(
        ["promtool", "test", "rules", cases], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
