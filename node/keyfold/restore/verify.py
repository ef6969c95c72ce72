"""After a restore: every live node has applied it, and holds what the plan said."""

from __future__ import annotations

from collections.abc import Sequence

from keyfold.backup.cluster import ClusterState
from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.restore.plan import RestorePlan

_WAIT_SECONDS = 120.0
_POLL_SECONDS = 0.1
LEVEL, DOWN = "level", "down"


def on_every_node(cluster: ClusterState, clock: Clock, plans: Sequence[RestorePlan], revision: int) -> dict[str, str]:
    """By node: `level` (it has applied `revision`) or `down` (it catches up when it comes back).

    KeyfoldError `conflict` if what is committed, or what this node holds, is not what was planned.
    """
    for plan in plans:
        _committed(cluster, plan)
    nodes = _await_level(cluster, clock, revision)
    for plan in plans:
        wanted = plan.outcome
        local = cluster.local_digests_of(plan.partition, [*wanted, *plan.removes])
        _compare(plan, wanted, local, "on this node")
    return nodes


def _committed(cluster: ClusterState, plan: RestorePlan) -> None:
    wanted = plan.outcome
    live = cluster.objects(plan.partition, files=[*wanted, *plan.removes])
    _compare(plan, wanted, {file: one.digest for file, one in live.items()}, "in etcd")


def _compare(plan: RestorePlan, wanted: dict[str, str], found: dict[str, str], where: str) -> None:
    wrong = sorted(file for file in {*wanted, *plan.removes} if found.get(file) != wanted.get(file))
    if wrong:
        raise KeyfoldError(
            "conflict",
            f"{len(wrong)} objects of {plan.partition} are not as planned {where} after the restore: {wrong[0]} …",
            not_done="the restore is not recorded as finished",
            next_step="somebody changed them meanwhile, or: keyfold status; then run the restore again",
        )


def _await_level(cluster: ClusterState, clock: Clock, revision: int) -> dict[str, str]:
    deadline = clock.monotonic() + _WAIT_SECONDS
    while True:
        _, rows = cluster.nodes()
        behind = [row["name"] for row in rows if row["agent"] == "up" and row["applied_revision"] < revision]
        if not behind:
            return {row["name"]: LEVEL if row["agent"] == "up" else DOWN for row in rows}
        if clock.monotonic() >= deadline:
            raise KeyfoldError(
                "conflict",
                f"{', '.join(behind)} did not apply the restore within {_WAIT_SECONDS:g} s",
                not_done="the restore is committed, and not recorded as finished",
                next_step="keyfold status says what keeps the node; then run the restore again",
            )
        clock.sleep(_POLL_SECONDS)
