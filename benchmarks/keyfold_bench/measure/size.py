"""Whether a commit's cost depends on how large the partition is."""

from __future__ import annotations

from statistics import median

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import Program
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_RUNS = 5
_ROUNDS = 60


def measure() -> Measured:
    cluster.fill("acme", cluster.FEW)
    cluster.fill("bulk", cluster.MANY)
    with (
        cluster.python("hsm1", "acme", "commit", "acme") as few,
        cluster.python("hsm1", "bulk", "commit", "bulk") as many,
    ):
        for program in (few, many):
            program.ask("commit", "first")
        runs = [_run(few, many) for _ in range(_RUNS)]
    cluster.level()
    return {"commit_10k_over_100": runs}


def _run(few: Program, many: Program) -> Run:
    small, large = [], []
    for number in range(_ROUNDS):
        small.append(few.ask("commit", f"size-{number}")["seconds"])
        large.append(many.ask("commit", f"size-{number}")["seconds"])
    return Run(
        median(large) / median(small),
        {"p50_100_ms": rounded(median(small) * 1e3), "p50_10k_ms": rounded(median(large) * 1e3)},
    )
