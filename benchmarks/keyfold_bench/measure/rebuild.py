"""A lost cluster comes back from the store and three shares: 10 partitions with 10,000 objects."""

from __future__ import annotations

import json
import time

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import NODES, ROOT, SET, BenchFailed, container, keyfold, run
from benchmarks.keyfold_bench.results import Measured, Run

_PARTITIONS = [f"rebuild{number}" for number in range(10)]
_EACH = cluster.MANY // len(_PARTITIONS)
# Tasks of playbooks/rebuild.yml: the rebuild itself, then every node's following.
_TASKS = ("Rebuild", "Wait until every live node has everything")


def measure() -> Measured:
    """Last of all: of the cluster that was measured before, only the store is left."""
    declared = [{"name": name, "package": "PLATINUM", "backup": True, **cluster.SUBSCRIBER} for name in _PARTITIONS]
    variables = {"keyfold_partitions": declared, "client_partitions": []}
    cluster.playbook("partition", "--extra-vars", json.dumps(variables))
    for name in _PARTITIONS:
        cluster.fill(name, _EACH)
    made = keyfold("hsm3", "backup", "run", *(word for name in _PARTITIONS for word in ("--partition", name)))
    home = ROOT / ".keyfold" / SET
    shares = sorted(str(path) for path in (home / "custody").glob("*.age"))[:3]
    run("docker", "rm", "--force", "--volumes", *map(container, NODES))
    run("lab/containers.sh", "up", SET, cluster.NODE_IMAGE)
    shown = {
        "custody_share_files": shares,
        "custody_identity_files": [str(path) for path in (home / "custodians").glob("*.key")],
        "rebuild_set": made["set"]["set_id"],
        "confirm": "yes",
    }
    begun = time.monotonic()
    _, tasks = cluster.playbook("rebuild", "--extra-vars", json.dumps({**variables, **shown}))
    whole = time.monotonic() - begun
    found = {row["name"]: row["objects"] for row in keyfold("hsm1", "partition", "list")["partitions"]}
    if any(found[name] <= _EACH for name in _PARTITIONS):
        raise BenchFailed(f"the rebuilt partitions have {found} objects")
    seconds = sum(tasks.get(name, 0.0) for name in _TASKS)
    return {"rebuild_10k_seconds": [Run(seconds, {"playbook_seconds": round(whole, 1), "objects": cluster.MANY})]}
