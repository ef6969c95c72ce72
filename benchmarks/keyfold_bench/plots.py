"""The plots of docs/benchmarks.md, as SVG text; the same entries give the same bytes."""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from statistics import median

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from benchmarks.keyfold_bench.results import Entry

_STYLE = {
    # Without a salt the ids in the file, with fonts as paths the file's size, would depend on chance.
    "svg.hashsalt": "keyfold",
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 9,
    "axes.spines.top": False,
    "axes.spines.right": False,
}
_BLUE, _GREY, _RED = "#2a6f97", "#a9b4bd", "#b23a48"


def plots(entries: Mapping[str, Entry]) -> dict[str, tuple[str, str]]:
    """File name → caption and SVG; only plots whose figures have been measured."""
    drawn = {}
    for name, caption, needed, draw in _PLOTS:
        if needed in entries:
            drawn[name] = (caption, _svg(draw, entries[needed]))
    return drawn


def _svg(draw: Callable[[Axes, Entry], None], entry: Entry) -> str:
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(7.2, 2.8), layout="constrained")
        draw(figure.add_subplot(), entry)
        output = io.StringIO()
        figure.savefig(output, format="svg", metadata={"Date": None, "Creator": None})
    return "".join(f"{line.rstrip()}\n" for line in output.getvalue().splitlines())


def _commit(axes: Axes, entry: Entry) -> None:
    runs = entry["runs"]
    parts = (("module_p50_ms", "through the module", _BLUE), ("bare_p50_ms", "bare SoftHSM", _GREY))
    width = 0.28
    for index, (key, label, colour) in enumerate((*parts, ("etcd_txn_p50_ms", "bare etcd transaction", _RED))):
        places = [run + (index - 1) * width for run in range(1, len(runs) + 1)]
        axes.bar(places, [run[key] for run in runs], width, label=label, color=colour)
    axes.set_xlabel("run")
    axes.set_ylabel("p50, ms")
    axes.set_xticks(range(1, len(runs) + 1))
    axes.legend(frameon=False, ncols=3, loc="lower left", bbox_to_anchor=(0, 1))


def _usable(axes: Axes, entry: Entry) -> None:
    for number, run in enumerate(entry["runs"], start=1):
        samples = run["samples_ms"]
        shares = [(index + 1) / len(samples) for index in range(len(samples))]
        axes.step(samples, shares, where="post", color=_BLUE, alpha=0.5 + 0.5 * number / len(entry["runs"]))
    for goal, share, name in ((50, 0.5, "p50 ≤ 50 ms"), (250, 0.99, "p99 ≤ 250 ms")):
        axes.plot([goal], [share], marker="x", color=_RED, linestyle="none")
        axes.annotate(name, (goal, share), xytext=(6, -10), textcoords="offset points", color=_RED)
    axes.set_xscale("log")
    axes.set_xlabel("ms from OK on hsm1 to a signature on hsm2 and hsm3")
    axes.set_ylabel("share of keys")


def _slowest(axes: Axes, entry: Entry) -> None:
    runs: Sequence[Mapping[str, float]] = [run["slowest_tasks_seconds"] for run in entry["runs"]]
    tasks = set[str]().union(*runs)
    seconds = {task: median(run.get(task, 0.0) for run in runs) for task in tasks}
    longest = sorted(seconds, key=lambda task: (-seconds[task], task))[:8][::-1]
    axes.barh(longest, [seconds[task] for task in longest], color=_BLUE)
    axes.set_xlabel("s")


_PLOTS = (
    (
        "commit.svg",
        "P-256 key generation: module, bare SoftHSM, and an etcd transaction",
        "commit_added_over_etcd_txn",
        _commit,
    ),
    ("usable.svg", "When a new key is usable on every other node, each run", "usable_elsewhere_p50_ms", _usable),
    ("site-cold.svg", "site.yml on bare Debian: the slowest tasks", "site_cold_seconds", _slowest),
    ("site-no-change.svg", "site.yml without change: the slowest tasks", "site_no_change_seconds", _slowest),
)
