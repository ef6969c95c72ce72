"""What one run leaves for the next, and for whoever watches: `last.json`, `status.json` and `expiry.prom`."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.expiry.clock_guard import Reading

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class State:
    """Files in the expirer's own directory, each replaced as a whole."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def last_reading(self) -> Reading | None:
        """The clocks at the last run that believed them; None before the first.

        KeyfoldError `clock` if the file cannot be read: then there is nothing to compare the clock with.
        """
        path = self._directory / "last.json"
        try:
            row = json.loads(path.read_text(encoding="utf-8"))
            return Reading(datetime.fromisoformat(row["utc"]), float(row["since_boot"]), str(row["boot"]))
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise KeyfoldError(
                "clock",
                f"the record of the last run, {path}, cannot be read: {error}",
                not_done="nothing was removed from the store",
                next_step=f"check the clock (timedatectl), remove {path}, then run: keyfold-expire",
            ) from error

    def remember(self, reading: Reading) -> None:
        row = {"utc": stamp(reading.utc), "since_boot": reading.since_boot, "boot": reading.boot}
        self._replace("last.json", json.dumps(row))

    def publish(self, status: Mapping[str, Any], metrics: Mapping[str, float]) -> None:
        """For people and for Prometheus' textfile collector (names: docs/interfaces.md §5)."""
        self._replace("status.json", json.dumps(status, indent=2) + "\n")
        lines = [f"# TYPE {name} gauge\n{name} {value:g}\n" for name, value in metrics.items()]
        self._replace("expiry.prom", "".join(lines))

    def _replace(self, name: str, content: str) -> None:
        target, draft = self._directory / name, self._directory / f".{name}.new"
        try:
            with draft.open("w", encoding="utf-8") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(target)
        except OSError as error:
            raise KeyfoldError(
                "disk",
                f"{target} cannot be written: {error.strerror}",
                not_done="nothing more was removed from the store",
                next_step=f"free space (df -h {self._directory}), then run: keyfold-expire",
            ) from error


def boot_id() -> str:
    """Which start of this machine it is."""
    return _BOOT_ID.read_text(encoding="ascii").strip()
