"""How long site.yml takes, and where the time goes."""

from __future__ import annotations

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.results import Measured, Run

_RUNS_WITHOUT_CHANGE = 3


def measure() -> Measured:
    """Makes the machines anew, twice; the second cluster stays for the measurements that follow."""
    cluster.machines(cluster.BARE_IMAGE)
    cold = _site()
    cluster.machines(cluster.NODE_IMAGE)
    warm = _site()
    return {
        "site_cold_seconds": [cold],
        "site_warm_seconds": [warm],
        "site_no_change_seconds": [_site() for _ in range(_RUNS_WITHOUT_CHANGE)],
    }


def _site() -> Run:
    seconds, slowest = cluster.playbook("site")
    return Run(seconds, {"slowest_tasks_seconds": slowest})
