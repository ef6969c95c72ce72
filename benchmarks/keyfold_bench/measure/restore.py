"""Restores out of a backup set of 100,000 objects: one key, a partition of 1,000 objects, and everything."""

from __future__ import annotations

import json
import time
from contextlib import ExitStack
from typing import Any

import yaml

from benchmarks.keyfold_bench import big, cluster, peers
from benchmarks.keyfold_bench.machines import NODES, PLACE, BenchFailed, keyfold, on
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_ONE_RUNS = 5
_THOUSAND_RUNS = 3
_ALL_RUNS = 1
_KEY = "bench-restore"
_POLL_SECONDS = "0.2"
_APPLY = ("keyfold", "restore", "apply", "--request", "-", "--json")


def measure() -> Measured:
    big.make()
    peers.prepare()
    holder = big.PARTITIONS[0]
    with cluster.python("hsm1", holder, "generate", cluster.MODULE, holder) as maker:
        maker.ask("generate", _KEY)
    everything, thousand = _backup(big.PARTITIONS), _backup((big.THOUSAND,))
    peers.restic_backup(big.PARTITIONS)
    return {
        "restore_one_of_100k_seconds": [_one(holder, everything) for _ in range(_ONE_RUNS)],
        "restore_1000_partition_seconds": [_thousand(thousand) for _ in range(_THOUSAND_RUNS)],
        "restore_100k_over_restic": [_all(everything) for _ in range(_ALL_RUNS)],
    }


def _backup(partitions: tuple[str, ...]) -> str:
    made = keyfold(peers.NODE, "backup", "run", *(word for name in partitions for word in ("--partition", name)))
    return str(made["set"]["set_id"])


def _one(partition: str, set_id: str) -> Run:
    """The key pair is destroyed and comes back; until sessions that are open on every node have signed with it."""
    with cluster.python("hsm1", partition, "destroy", cluster.MODULE, partition) as owner:
        owner.ask("destroy", _KEY)
    cluster.level()
    approval = _approved(set_id, "--partition", partition, "--label", _KEY)
    with ExitStack() as stack:
        users = [
            stack.enter_context(cluster.python(node, partition, "usable", cluster.MODULE, partition, _POLL_SECONDS))
            for node in NODES
        ]
        for user in users:
            user.begin("await", _KEY)
        begun = time.monotonic()
        command, _, _ = peers.timed(*_APPLY, given=approval)
        usable = max(float(user.answer()["usable"]) for user in users)
    return Run(usable - begun, {"command_seconds": rounded(command)})


def _thousand(set_id: str) -> Run:
    _lose((big.THOUSAND,))
    seconds = _restored(set_id, "--partition", big.THOUSAND)
    return Run(seconds, {"objects": cluster.objects(big.THOUSAND)})


def _all(set_id: str) -> Run:
    _lose(big.PARTITIONS)
    ours = _restored(set_id)
    wanted = len(big.PARTITIONS) * big.EACH
    if (found := sum(cluster.objects(name) for name in big.PARTITIONS)) < wanted:
        raise BenchFailed(f"{found} objects of {wanted} came back")
    restic = peers.restic_restore()
    return Run(ours / restic, {"keyfold_seconds": rounded(ours), "restic_seconds": rounded(restic)})


def _lose(partitions: tuple[str, ...]) -> None:
    on(peers.NODE, "env", f"--chdir={PLACE}", "python3", "-m", "benchmarks.programs.lose", *partitions)
    cluster.level()


def _restored(set_id: str, *selection: str) -> float:
    """Seconds of the approved restore; it ends when every node holds what it brought back."""
    seconds, _, _ = peers.timed(*_APPLY, given=_approved(set_id, *selection))
    return seconds


def _approved(set_id: str, *selection: str) -> str:
    """A restore request for the set, signed, as standard input of `keyfold restore apply --request -`."""
    said = ("--ticket", "BENCH-1", "--reason", "a benchmark", "--requested-by", "the benchmark")
    asked = keyfold(peers.NODE, "restore", "request", "--set", set_id, *selection, *said)
    request: dict[str, Any] = yaml.safe_load(asked["request"])
    return json.dumps({"approval": cluster.approved(request)})
