"""500 subscriber connections at once, over 50 partitions, all on one node."""

from __future__ import annotations

from typing import Any

from benchmarks.keyfold_bench import cluster
from benchmarks.keyfold_bench.machines import ROOT, BenchFailed, Program
from benchmarks.keyfold_bench.results import Measured, Run, rounded

_PARTITIONS = [f"many-{number:02}" for number in range(50)]
_CONNECTIONS_EACH = 10
_SECONDS = 30
# Each connection's pace. Without a pause, latency would only say how many signatures two cores make.
_PAUSE_SECONDS = 1
_KEY = "bench-many"
_CLIENT = "/usr/lib/x86_64-linux-gnu/pkcs11/p11-kit-client.so"
_PROGRAM = ROOT / "tests" / "clients" / "sign_load.py"


def measure() -> Measured:
    cluster.declare([{"name": name, "package": "ECO"} for name in _PARTITIONS], _PARTITIONS)
    for partition in _PARTITIONS:
        with cluster.python("hsm1", partition, "generate", cluster.MODULE, partition) as maker:
            maker.ask("generate", _KEY)
    loads = [_load(partition) for partition in _PARTITIONS]
    for load in loads:
        load.answer()
    for load in loads:
        load.begin("go")
    said = [load.answer() for load in loads]
    for load in loads:
        load.close()
    sessions, failed, signatures = (sum(int(one[key]) for one in said) for key in ("sessions", "failed", "signatures"))
    if (sessions, failed) != (len(_PARTITIONS) * _CONNECTIONS_EACH, 0):
        raise BenchFailed(f"of 500 connections {sessions} were opened and {failed} broke")
    worst = max(float(one["p99_ms"]) for one in said)
    details: dict[str, Any] = {
        "connections": sessions,
        "signatures_per_second": rounded(signatures / _SECONDS),
        "p50_ms": rounded(sorted(float(one["p50_ms"]) for one in said)[len(said) // 2]),
        "max_ms": rounded(max(float(one["max_ms"]) for one in said)),
    }
    return {"connections_500_p99_ms": [Run(worst, details)]}


def _load(partition: str) -> Program:
    address = f"P11_KIT_SERVER_ADDRESS=unix:path=/run/keyfold-client/{partition}/pkcs11.sock"
    user = ("runuser", "--user", f"kf-{partition}", "--", "env", address)
    program = ("python3", "-c", _PROGRAM.read_text(encoding="utf-8"))
    order = (str(_CONNECTIONS_EACH), str(_SECONDS), "0", str(_PAUSE_SECONDS))
    return Program("app1", *user, *program, _CLIENT, partition, _KEY, *order, first_line=cluster.pin(partition))
