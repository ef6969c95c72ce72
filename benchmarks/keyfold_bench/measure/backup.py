"""A backup set of 100,000 objects, beside `tar | age | curl` and restic's first run, each into the same store."""

from __future__ import annotations

from benchmarks.keyfold_bench import big, peers
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_RUNS = 3


def measure() -> Measured:
    big.make()
    peers.prepare()
    pipe, restic, memory = zip(*(_turn() for _ in range(_RUNS)), strict=True)
    return {"backup_100k_over_pipe": pipe, "backup_100k_over_restic": restic, "backup_rss_mb": memory}


def _turn() -> tuple[Run, Run, Run]:
    named = [word for name in big.PARTITIONS for word in ("--partition", name)]
    ours, megabytes, _ = peers.timed("keyfold", "backup", "run", *named)
    pipe = peers.pipe(big.PARTITIONS)
    restic = peers.restic_backup(big.PARTITIONS)
    return (
        Run(ours / pipe, {"keyfold_seconds": rounded(ours), "pipe_seconds": rounded(pipe)}),
        Run(ours / restic, {"keyfold_seconds": rounded(ours), "restic_seconds": rounded(restic)}),
        Run(megabytes),
    )
