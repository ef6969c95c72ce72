"""A node with nothing joins a cluster with 10,000 objects."""

from __future__ import annotations

import time

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import await_, keyfold, on
from benchmarks.keyfold_bench.results import Measured, Run

_RUNS = 3
_NODE = "hsm2"
_PATIENCE_SECONDS = 300.0
_WIPE = """
systemctl stop keyfold-agent.service 'keyfold-partition-*.socket'
rm -rf /var/lib/keyfold/partitions/* /var/lib/keyfold/agent/* /etc/systemd/system/keyfold-partition-*.socket
rm -f /etc/systemd/system/keyfold-partition-*@.service /etc/keyfold/partitions.sysusers
systemctl daemon-reload
"""


def measure() -> Measured:
    cluster.fill("bulk", cluster.MANY)
    return {"join_10k_seconds": [_join() for _ in range(_RUNS)]}


def _join() -> Run:
    wanted = _files("hsm1")
    on(_NODE, "sh", "-ec", _WIPE)
    begun = time.monotonic()
    on(_NODE, "systemctl", "start", "keyfold-agent.service")
    await_(lambda: _files(_NODE) == wanted and _level(), _PATIENCE_SECONDS, f"{_NODE}, joined and level,")
    return Run(time.monotonic() - begun, {"files": wanted})


def _files(node: str) -> int:
    return int(on(node, "sh", "-c", "find /var/lib/keyfold/partitions -name '*.object' | wc -l"))


def _level() -> bool:
    return all(cluster.is_level(row) for row in keyfold("hsm1", "status")["nodes"] if row["name"] == _NODE)
