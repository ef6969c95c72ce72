"""`keyfold partition compare`: whether this node holds what the cluster has committed."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from typing import Any

from keyfold.backup.cluster import ClusterState
from keyfold.clock import Clock
from keyfold.commands.arguments import Subparsers, command
from keyfold.context import Context
from keyfold.errors import KeyfoldError

# A change that is under way is on this node a moment before or after it is in etcd.
_PATIENCE_SECONDS = 10.0
_POLL_SECONDS = 0.5


def register(actions: Subparsers) -> None:
    parser = command(actions, "compare", _compare, _render, "this node's own files with what the cluster has committed")
    parser.add_argument("partitions", metavar="PARTITION", nargs="*", help="all, if none is named")


def _compare(args: argparse.Namespace, context: Context) -> Mapping[str, Any]:
    cluster = ClusterState(context.agent)
    names = args.partitions or [partition.name for partition in cluster.partitions()]
    counts = {name: _compared(cluster, name, context.clock) for name in names}
    return {"changed": False, "node": context.config.node, "partitions": counts}


def _compared(cluster: ClusterState, name: str, clock: Clock) -> int:
    """How many objects are the same on both sides; KeyfoldError `conflict` if some stay different."""
    deadline = clock.monotonic() + _PATIENCE_SECONDS
    while True:
        here = cluster.local_digests(name)
        there = {file: one.digest for file, one in cluster.objects(name).items()}
        different = sorted(file for file in here.keys() | there.keys() if here.get(file) != there.get(file))
        if not different:
            return len(there)
        if clock.monotonic() >= deadline:
            raise KeyfoldError(
                "conflict",
                f"partition {name}: {len(different)} files on this node are not what the cluster has: {different[0]} …",
                not_done="nothing was changed",
                next_step="keyfold status shows this node's lag and problem; journalctl -u keyfold-agent",
            )
        clock.sleep(_POLL_SECONDS)


def _render(reply: Mapping[str, Any]) -> str:
    return "\n".join(f"{name}: {count} objects, as committed" for name, count in reply["partitions"].items())
