"""What the agent's units must say for it to come back."""

from __future__ import annotations

from pathlib import Path

import pytest

UNITS = Path(__file__).parents[3] / "systemd"


@pytest.mark.parametrize("unit", ["keyfold-agent.service", "keyfold-provision.service", "keyfold-subscriber@.service"])
def test_systemd_never_gives_up_starting(unit: str) -> None:
    before_service = (UNITS / unit).read_text(encoding="utf-8").partition("[Service]")[0]
    assert "\nStartLimitIntervalSec=0\n" in before_service
