"""How fast a set is verified in the store, without keys, beside what the machine's own sha256sum does."""

from __future__ import annotations

import json

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import PLACE, on
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_RUNS = 5
_MEGABYTES = 256


def measure() -> Measured:
    cluster.level()
    runs = [_run() for _ in range(_RUNS)]
    on("store1", "sh", "-c", "rm -r /srv/keyfold/keyfold-bench-*")
    return {"verify_over_sha256sum": runs}


def _run() -> Run:
    command = ("python3", "-m", "benchmarks.programs.verify", str(_MEGABYTES))
    seconds = json.loads(on("hsm3", "env", f"--chdir={PLACE}", *command))
    speeds = {f"{name}_mb_per_second": rounded(_MEGABYTES / taken) for name, taken in seconds.items()}
    return Run(seconds["sha256sum"] / seconds["verify"], speeds)
