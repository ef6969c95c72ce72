"""Signing through the module beside SoftHSM alone, in process and from a subscriber's machine."""

from __future__ import annotations

from statistics import median

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import PLACE, Program
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_KEY = "bench-sign"
_CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
_RUNS = 5
_TURNS = 20
_SIGNATURES_IN_PROCESS = 1000
_SIGNATURES_REMOTE = 100


def measure() -> Measured:
    for partition in ("acme", "plain"):
        with cluster.python("hsm1", partition, "generate", cluster.MODULE, partition) as maker:
            maker.ask("generate", _KEY)
    with _in_process(cluster.MODULE) as ours, _in_process(cluster.SOFTHSM) as bare:
        in_process = _compare(ours, bare, _SIGNATURES_IN_PROCESS)
    with _remote("acme") as ours, _remote("plain") as bare:
        remote = _compare(ours, bare, _SIGNATURES_REMOTE)
    return {"sign_in_process_over_bare": in_process, "sign_remote_over_plain_path": remote}


def _in_process(module: str) -> Program:
    command = (*cluster.as_partition("acme"), f"{PLACE}/sign", module, "acme", _KEY)
    return Program("hsm1", *command, first_line=cluster.pin("acme"))


def _remote(partition: str) -> Program:
    address = f"P11_KIT_SERVER_ADDRESS=unix:path=/run/keyfold-client/{partition}/pkcs11.sock"
    command = ("runuser", "--user", f"kf-{partition}", "--", "env", address, f"{PLACE}/sign", _CLIENT, partition, _KEY)
    return Program("app1", *command, first_line=cluster.pin(partition))


def _compare(ours: Program, bare: Program, signatures: int) -> list[Run]:
    """Runs of turns; in each turn both make as many signatures, now one first, now the other."""
    for program in (ours, bare):
        program.ask("sign", signatures)
    return [_run(ours, bare, signatures) for _ in range(_RUNS)]


def _run(ours: Program, bare: Program, signatures: int) -> Run:
    seconds: dict[Program, list[float]] = {ours: [], bare: []}
    for turn in range(_TURNS):
        for program in (ours, bare) if turn % 2 == 0 else (bare, ours):
            seconds[program].append(program.ask("sign", signatures)["seconds"])
    ratios = [theirs / our for our, theirs in zip(seconds[ours], seconds[bare], strict=True)]
    return Run(
        median(ratios),
        {
            "module_per_second": rounded(signatures / median(seconds[ours])),
            "bare_per_second": rounded(signatures / median(seconds[bare])),
        },
    )
