"""Preview a restore, or carry out an approved one: through the agent, hence through etcd, hence on every node."""

from __future__ import annotations

import base64
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfold.approval.gate import decode
from keyfold.approval.request import parse
from keyfold.backup.archive import ArchivedObject
from keyfold.backup.cluster import ClusterState
from keyfold.backup.progress import Progress
from keyfold.clock import Clock
from keyfold.package import Package
from keyfold.remote import Remote
from keyfold.restore.order import Order, order_of
from keyfold.restore.plan import RestorePlan, State
from keyfold.restore.prepare import Preparation, Prepared, PreparedPartition
from keyfold.restore.verify import on_every_node

# Below the agent's limit of a request line, which holds them in Base64.
_BATCH_BYTES = 4 << 20
_BATCH_OBJECTS = 1800
Approval = Mapping[str, Any]
Safety = Callable[[Sequence[str]], str]


@dataclass(frozen=True, slots=True)
class Outcome:
    """`record`: of a restore that was carried out, now or before; None in a preview, or if there was nothing to do.

    `changed`: whether this call wrote anything. `plans` are empty where an earlier call had finished it all.
    """

    order: Order
    set_id: str
    manifest_sha256: str
    plans: tuple[RestorePlan, ...]
    record: Mapping[str, Any] | None
    changed: bool


class Restore:
    """Everything is checked to its last byte before the first object is written.

    `safety` makes a backup set of the partitions named and returns its ID: what is lost can be brought back from it.
    """

    def __init__(
        self,
        cluster: ClusterState,
        remote: Remote,
        state: Path,
        packages: Mapping[str, Package],
        clock: Clock,
        safety: Safety,
    ) -> None:
        self._cluster = cluster
        self._packages = packages
        self._clock = clock
        self._safety = safety
        self._preparation = Preparation(cluster, remote, state, packages, clock)

    def preview(self, order: Order, request_id: str = "") -> Outcome:
        """What `apply` would do now. KeyfoldErrors as for `apply`, but `unapproved`; writes nothing."""
        with self._preparation.prepared(order, request_id) as prepared:
            return _outcome(order, prepared, None, changed=False)

    def apply(self, approval: Approval, who: str) -> Outcome:
        """Do what the officers signed; after an interruption, at any point, the same call goes on with it.

        KeyfoldError `unapproved`, `not_found` (partition, set, key), `refused` (the backup cannot be believed, or may
        not be restored), `conflict` (the partition changed meanwhile), `quota`, and those of the store and the agent.
        """
        request = parse(decode(approval)[0])
        order = order_of(request)
        record = self._cluster.restoring("begin", approval, check=True)["record"]
        if record is not None and record["finished"]:
            return Outcome(order, order.set_id, order.manifest_sha256, (), record, changed=False)
        with self._preparation.prepared(order, request.id) as prepared:
            plans = [one.plan for one in prepared.partitions]
            if record is None and all(plan.empty for plan in plans):
                return _outcome(order, prepared, None, changed=False)
            if record is None:
                record = self._begin(approval, prepared, order, who)
            safety = record["safety_set"] or self._kept(plans)
            revision = self._write(approval, prepared)
            nodes = on_every_node(self._cluster, self._clock, plans, revision)
            # An interrupted restore began with other plans: what it was to do stands in its record.
            result = {"revision": revision, "nodes": nodes, "safety_set": safety}
            record = self._cluster.restoring("finish", approval, result=result)["record"]
            return _outcome(order, prepared, record, changed=True)

    def _begin(self, approval: Approval, prepared: Prepared, order: Order, who: str) -> dict[str, Any]:
        plans = [one.plan for one in prepared.partitions]
        begun: dict[str, Any] = {
            "who": who,
            "counts": {plan.partition: plan.counts for plan in plans},
            "pins": {plan.partition: plan.pin for plan in plans},
            "safety_set": self._kept(plans),
            "prices": self._prices(prepared) if order.chargeable else {},
        }
        growth = {plan.partition: plan.growth for plan in plans if plan.growth > 0 and not plan.create}
        reply = self._cluster.restoring("begin", approval, begun=begun, growth=growth, partition=order.partition)
        record: dict[str, Any] = reply["record"]
        return record

    def _kept(self, plans: Sequence[RestorePlan]) -> str | None:
        """The safety set of what is going to be lost: also where that turns up only after an interruption."""
        losing = [plan.partition for plan in plans if plan.loses]
        return self._safety(losing) if losing else None

    def _prices(self, prepared: Prepared) -> dict[str, str]:
        return {
            one.plan.partition: self._packages[one.package].restore_price
            for one in prepared.partitions
            if not one.plan.empty
        }

    def _write(self, approval: Approval, prepared: Prepared) -> int:
        revision, _ = self._cluster.nodes()
        total = sum(len(one.plan.writes) + len(one.plan.removes) for one in prepared.partitions)
        with Progress("restoring", total) as bar:
            for one in prepared.partitions:
                create = dict(one.index.row) if one.plan.create else None
                for batch in _batches(_changes(prepared, one)):
                    extra = {} if create is None else {"partition_row": create}
                    reply = self._cluster.restoring(
                        "apply", approval, partition=one.plan.partition, objects=batch, **extra
                    )
                    revision, create = int(reply["revision"]), None
                    bar.advance(len(batch))
        return revision


def _outcome(order: Order, prepared: Prepared, record: Mapping[str, Any] | None, *, changed: bool) -> Outcome:
    plans = tuple(one.plan for one in prepared.partitions)
    return Outcome(order, prepared.manifest.set_id, prepared.manifest_sha256, plans, record, changed)


def _changes(prepared: Prepared, one: PreparedPartition) -> Iterator[dict[str, Any]]:
    """What the agent is asked to write, each with the state it was planned from."""
    state = one.state or State({}, {})
    for item in prepared.objects(one):
        yield _change(item, state)
    for file in one.plan.removes:
        yield {"file": file, "live": [state.live[file].revision, state.live[file].size]}


def _change(item: ArchivedObject, state: State) -> dict[str, Any]:
    live, shadow = state.live.get(item.file), state.invalidated.get(item.file)
    return {
        "file": item.file,
        "meta": dict(item.meta),
        "data": base64.b64encode(item.data).decode(),
        **({"live": [live.revision, live.size]} if live else {}),
        **({"invalidated": [shadow.revision, shadow.size]} if shadow else {}),
        **({"purged": True} if item.file in state.purged else {}),
    }


def _batches(rows: Iterator[dict[str, Any]]) -> Iterator[list[dict[str, Any]]]:
    batch: list[dict[str, Any]] = []
    size = 0
    for row in rows:
        length = len(row.get("data", ""))
        if batch and (size + length > _BATCH_BYTES or len(batch) >= _BATCH_OBJECTS):
            yield batch
            batch, size = [], 0
        batch.append(row)
        size += length
    if batch:
        yield batch
