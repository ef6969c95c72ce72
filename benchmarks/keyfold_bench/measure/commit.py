"""What a commit adds to key generation, beside a bare etcd transaction."""

from __future__ import annotations

import time
from statistics import median

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import PLACE, Program, on
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_RUNS = 5
_ROUNDS = 60
# What one operation leaves to do elsewhere (other nodes apply the key) must not fall into the next one's time.
_PAUSE_SECONDS = 0.05
_SCRATCH = "/var/lib/keyfold-bench"


def measure() -> Measured:
    configuration = _scratch_token()
    with (
        cluster.python("hsm1", "acme", "generate", cluster.MODULE, "acme") as ours,
        cluster.python("hsm1", "acme", "generate", cluster.SOFTHSM, "scratch", configuration=configuration) as bare,
    ):
        ours.ask("generate", "shape")
        tokens = f"{cluster.home('acme')}/tokens"
        with Program("hsm1", "python3", "-m", "benchmarks.programs.etcd_txn", tokens) as etcd:
            etcd.ask("txn")
            ours.ask("drop")
            runs = [_run(number, ours, bare, etcd) for number in range(_RUNS)]
    return {"commit_added_over_etcd_txn": runs}


def _scratch_token() -> str:
    """A token on the same file system that no agent watches: the softhsm2.conf that leads to it."""
    configuration = f"{_SCRATCH}/softhsm2.conf"
    on("hsm1", "rm", "-rf", _SCRATCH)
    on("hsm1", "install", "-d", "-o", "kf-acme", f"{_SCRATCH}/tokens")
    on("hsm1", "tee", configuration, given=f"directories.tokendir = {_SCRATCH}/tokens\nobjectstore.backend = file\n")
    command = (*cluster.as_partition("acme", configuration), "python3", "-m", "benchmarks.programs.scratch_token")
    on("hsm1", "env", f"--chdir={PLACE}", *command, "scratch", given=cluster.pin("acme") + "\n")
    return configuration


def _run(number: int, ours: Program, bare: Program, etcd: Program) -> Run:
    seconds: dict[str, list[float]] = {"ours": [], "bare": [], "etcd": []}
    for round_ in range(_ROUNDS):
        label = f"commit-{number}-{round_}"
        for name, program in (("ours", ours), ("bare", bare)):
            seconds[name].append(program.ask("generate", label)["seconds"])
            time.sleep(_PAUSE_SECONDS)
            program.ask("drop")
            time.sleep(_PAUSE_SECONDS)
        seconds["etcd"].append(etcd.ask("txn")["seconds"])
        time.sleep(_PAUSE_SECONDS)
    p50 = {name: median(values) for name, values in seconds.items()}
    return Run(
        (p50["ours"] - p50["bare"]) / p50["etcd"],
        {
            "module_p50_ms": rounded(p50["ours"] * 1e3),
            "bare_p50_ms": rounded(p50["bare"] * 1e3),
            "etcd_txn_p50_ms": rounded(p50["etcd"] * 1e3),
        },
    )
