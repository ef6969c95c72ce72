"""What one phase of a scenario leaves for a later one, on the controller, beside the cluster's own files."""

from __future__ import annotations

import json
from typing import Any

from scenario.machines import controller_directory


def keep(name: str, value: Any) -> None:
    (controller_directory() / f"{name}.evidence.json").write_text(json.dumps(value))


def kept(name: str) -> Any:
    return json.loads((controller_directory() / f"{name}.evidence.json").read_text())
