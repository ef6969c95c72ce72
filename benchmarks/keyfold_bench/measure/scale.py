"""The module keyfold_partition with a thousand partitions: the first time, without change, with one changed."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import NODES, ROOT, SET, BenchFailed, on
from benchmarks.keyfold_bench.results import Measured, Run, rounded
from lab.handover import subscriber_key

_MANY = 1000
_RUNS = 3
_PLAYBOOK = "../benchmarks/declare"
_TASK = "partition : Declare the partitions"
# Not the shell's own words.
_PROCESSES = "pgrep -c -f 'p11-[k]it.remote' || true"


def measure() -> Measured:
    """On a cluster of its own, made anew: the other measurements have no thousand partitions beside them."""
    cluster.make()
    first = _declare(100)
    idle = {node: int(on(node, "sh", "-c", _PROCESSES)) for node in NODES}
    if any(idle.values()):
        raise BenchFailed(f"idle partitions have processes: {idle}")
    return {
        "partitions_1000_first_seconds": [first],
        "partitions_1000_no_change_seconds": [_declare(100) for _ in range(_RUNS)],
        # Stricter each time: no change of a policy that needs the officers.
        "partitions_1000_one_changed_seconds": [_declare(99 - number) for number in range(_RUNS)],
    }


def _declare(max_failures: int) -> Run:
    """Declare them all, the last with this policy; the task's seconds, until every node has what changed."""
    # As an inventory has it; cluster.SUBSCRIBER would have Ansible read the file once for each of them.
    key = subscriber_key(ROOT / ".keyfold" / SET)
    partitions: list[dict[str, Any]] = [
        {"name": f"p{number:04}", "package": "ECO", "subscriber_key": key} for number in range(_MANY)
    ]
    partitions[-1]["policy"] = {"max_failures": max_failures}
    variables = ROOT / ".keyfold" / SET / "declare.json"
    variables.write_text(json.dumps({"keyfold_partitions": partitions}), encoding="utf-8")
    seconds, slowest = cluster.playbook(_PLAYBOOK, "--extra-vars", f"@{variables}")
    return Run(slowest[_TASK], {"playbook_seconds": rounded(seconds)})
