"""What the agent takes from a node while nothing happens: CPU time and memory."""

from __future__ import annotations

import time

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import NODES, on
from benchmarks.keyfold_bench.results import Measured, Run

_IDLE_SECONDS = 60.0
_SETTLE_SECONDS = 10.0
# CPU seconds of the agent and of its children, those that have ended included.
_TICKS = """
pid=$(systemctl show --property MainPID --value keyfold-agent.service)
for child in $pid $(cat /proc/$pid/task/*/children); do cut -d' ' -f14-17 /proc/$child/stat; done |
  awk '{ ticks += $1 + $2 + $3 + $4 } END { print ticks / '"$(getconf CLK_TCK)"' }'
"""
_MEMORY = """
pid=$(systemctl show --property MainPID --value keyfold-agent.service)
awk '/^Vm(RSS|HWM):/ { print $2 }' /proc/$pid/status
"""


def measure() -> Measured:
    cluster.fill("bulk", cluster.MANY)
    # What the measurements before it left to do is not idling.
    time.sleep(_SETTLE_SECONDS)
    begun = time.monotonic()
    before = {node: _cpu_seconds(node) for node in NODES}
    time.sleep(_IDLE_SECONDS)
    after = {node: _cpu_seconds(node) for node in NODES}
    elapsed = time.monotonic() - begun
    return {
        "agent_idle_core_fraction": [Run((after[node] - before[node]) / elapsed, {"node": node}) for node in NODES],
        "agent_rss_10k_mb": [_memory(node) for node in NODES],
    }


def _cpu_seconds(node: str) -> float:
    return float(on(node, "sh", "-c", _TICKS))


def _memory(node: str) -> Run:
    """In MB; the highest it ever was as a detail."""
    peak, now = (int(kilobytes) * 1024 / 1e6 for kilobytes in on(node, "sh", "-c", _MEMORY).split())
    return Run(now, {"node": node, "peak_mb": round(peak, 1)})
