"""100,000 objects of 1 to 4 KB in 20 partitions: what backup and restore are measured with."""

from __future__ import annotations

from benchmarks.keyfold_bench import cluster

PARTITIONS = tuple(f"big{number:02}" for number in range(20))
EACH = 5_000
# The one of its own size.
THOUSAND = "thousand"
_THOUSAND = 1_000


def make() -> None:
    """They exist on every node, as full as they have to be; what was lost of them is there again."""
    declared = {"package": "PLATINUM", "backup": True}
    if not cluster.has(PARTITIONS[-1]):
        cluster.declare([{"name": name, **declared} for name in (*PARTITIONS, THOUSAND)])
    for name in PARTITIONS:
        cluster.fill_with_data(name, EACH)
    cluster.fill_with_data(THOUSAND, _THOUSAND)
