"""From OK on one node to usable on every other."""

from __future__ import annotations

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import Program
from benchmarks.keyfold_bench.quantiles import quantile
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_RUNS = 3
_SAMPLES = 150
_POLL_SECONDS = "0.002"


def measure() -> Measured:
    with (
        cluster.python("hsm1", "acme", "generate", cluster.MODULE, "acme") as maker,
        cluster.python("hsm2", "acme", "usable", cluster.MODULE, "acme", _POLL_SECONDS) as second,
        cluster.python("hsm3", "acme", "usable", cluster.MODULE, "acme", _POLL_SECONDS) as third,
    ):
        _sample("first", maker, (second, third))
        runs = [
            sorted(_sample(f"usable-{run}-{number}", maker, (second, third)) for number in range(_SAMPLES))
            for run in range(_RUNS)
        ]
    return {
        "usable_elsewhere_p50_ms": [
            Run(quantile(run, 0.5), {"samples_ms": [rounded(sample) for sample in run]}) for run in runs
        ],
        "usable_elsewhere_p99_ms": [Run(quantile(run, 0.99)) for run in runs],
    }


def _sample(label: str, maker: Program, others: tuple[Program, ...]) -> float:
    """Milliseconds until the slowest of the others could use the key; 0 if it was quicker than the answer."""
    for other in others:
        other.begin("await", label)
    done: float = maker.ask("generate", label)["done"]
    usable: float = max(other.answer()["usable"] for other in others)
    maker.ask("drop")
    return max(usable - done, 0.0) * 1e3
