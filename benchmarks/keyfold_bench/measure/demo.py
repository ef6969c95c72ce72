"""`make demo` is not run by the benchmarks; it leaves how long it took in .keyfold/demo-timings.json."""

from __future__ import annotations

import json

from benchmarks.keyfold_bench.machines import ROOT
from benchmarks.keyfold_bench.results import Measured, Run


def measure() -> Measured:
    """The last demo's figure, cold or warm; nothing if none has been run."""
    path = ROOT / ".keyfold" / "demo-timings.json"
    if not path.exists():
        return {}
    timings = json.loads(path.read_text(encoding="utf-8"))
    name = "demo_cold_seconds" if timings["cold"] else "demo_warm_seconds"
    return {name: [Run(timings["seconds"], {"parts_seconds": timings["parts"]})]}
