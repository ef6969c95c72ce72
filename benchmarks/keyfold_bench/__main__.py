"""Run the measurements that are named, or all; each one's figures are saved as soon as it ends."""

from __future__ import annotations

import argparse
import sys
import time

from benchmarks.keyfold_bench import big, cluster, results
from benchmarks.keyfold_bench.document import RESULTS
from benchmarks.keyfold_bench.figures import FIGURES
from benchmarks.keyfold_bench.machines import BenchFailed
from benchmarks.keyfold_bench.measure import (
    agent,
    backup,
    commit,
    connections,
    demo,
    join,
    rebuild,
    restore,
    scale,
    sign,
    site,
    size,
    usable,
    verify,
)

# In this order: small partitions first, then what wants 10,000 objects, then what wants 100,000.
_ON_CLUSTER = {
    "commit": commit.measure,
    "usable": usable.measure,
    "sign": sign.measure,
    "size": size.measure,
    "verify": verify.measure,
    "join": join.measure,
    "agent": agent.measure,
    "connections": connections.measure,
    "backup": backup.measure,
    "restore": restore.measure,
    "rebuild": rebuild.measure,
}
_MEASUREMENTS = {"site": site.measure, **_ON_CLUSTER, "scale": scale.measure, "demo": demo.measure}


def main() -> int:
    parser = argparse.ArgumentParser(prog="benchmarks/run", description=__doc__)
    parser.add_argument("measurements", nargs="*", metavar="MEASUREMENT", help=", ".join(_MEASUREMENTS))
    parser.add_argument("--keep", action="store_true", help="leave the cluster up, and use it again")
    parser.add_argument("--small", action="store_true", help="a try: a fiftieth of 100,000 objects, nothing is saved")
    arguments = parser.parse_args()
    if arguments.small:
        big.EACH //= 50
    wanted = arguments.measurements or list(_MEASUREMENTS)
    if unknown := set(wanted) - set(_MEASUREMENTS):
        parser.error(f"no such measurement: {', '.join(sorted(unknown))}")
    try:
        names = [name for name in _MEASUREMENTS if name in wanted]
        _measure_all(names, keep=arguments.keep, save=not arguments.small)
    except BenchFailed as error:
        print(
            f"error: {error}\n  not done: the remaining measurements; those that ended are in {RESULTS.name}\n"
            f"  next:     benchmarks/run --keep {' '.join(wanted)}, then docker exec … journalctl -e",
            file=sys.stderr,
        )
        return 1
    finally:
        if not arguments.keep:
            cluster.remove()
    return 0


def _measure_all(names: list[str], *, keep: bool, save: bool) -> None:
    prepared = False
    for name in names:
        if name in _ON_CLUSTER and not prepared:
            if "site" not in names and not (keep and cluster.exists()):
                cluster.make()
            cluster.prepare()
            prepared = True
        begun = time.monotonic()
        measured = _MEASUREMENTS[name]()
        if save:
            results.save(RESULTS, measured)
        print(f"{name}: {time.monotonic() - begun:.0f} s", flush=True)
        for figure, runs in measured.items():
            made = results.entry(figure, runs)
            goal = (
                "" if FIGURES[figure].goal is None else f"  (goal {made['goal']}: {'met' if made['met'] else 'MISSED'})"
            )
            print(f"  {figure} {made['value']:g} {made['unit']}{goal}", flush=True)


if __name__ == "__main__":
    sys.exit(main())
