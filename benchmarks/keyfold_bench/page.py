"""docs/benchmarks.md as text, from the entries of results.json. Pure."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from benchmarks.keyfold_bench.figures import FIGURES
from benchmarks.keyfold_bench.results import Entry

_HEAD = """\
# Benchmarks

<!-- Written by benchmarks/run out of benchmarks/results.json; change the generator, benchmarks/keyfold_bench. -->

`make bench` measures on a cluster of its own: five containers of one machine, made by `playbooks/site.yml`, so all
nodes share its cores and its disk. Ratios compare both sides in the same run, in turns; a figure is the median of its
runs unless it says otherwise. `benchmarks/run commit sign` measures some of them anew, `benchmarks/run --keep …` leaves
the cluster up for a look.
"""


def page(entries: Mapping[str, Entry], plots: Mapping[str, str]) -> str:
    """`plots`: path relative to docs/ → what it shows."""
    return "\n".join(
        [
            _HEAD,
            "| figure | value | goal | met | runs |",
            "|---|---:|---:|:-:|---|",
            *(_row(name, entry) for name, entry in entries.items()),
            "",
            *_missed(entries),
            "## How each is measured",
            "",
            *(f"- `{name}`: {entry['how']}." for name, entry in entries.items()),
            "",
            "## Behind the figures",
            "",
            *_details(entries),
            *(line for path, caption in plots.items() for line in (f"![{caption}]({path})", "")),
        ]
    )


def _row(name: str, entry: Entry) -> str:
    met = {True: "yes", False: "**no**", None: "–"}[entry["met"]]
    runs = ", ".join(number(run["value"]) for run in entry["runs"])
    value = f"{number(entry['value'])} {_unit(entry['unit'])}".strip()
    return f"| `{name}` | {value} | {entry['goal'] or '–'} | {met} | {runs} |"


def _missed(entries: Mapping[str, Entry]) -> list[str]:
    missed = [name for name, entry in entries.items() if entry["met"] is False]
    if not missed:
        return []
    reasons = [f"- `{name}`: {FIGURES[name].missed}." for name in missed if FIGURES[name].missed]
    return [f"**Not met:** {', '.join(f'`{name}`' for name in missed)}.", "", *reasons, *([""] if reasons else [])]


def _details(entries: Mapping[str, Entry]) -> list[str]:
    """Per figure, a line or table for what its runs tell beside their value."""
    lines: list[str] = []
    for name, entry in entries.items():
        told = {key: [run[key] for run in entry["runs"] if key in run] for key in _keys(entry["runs"])}
        plain = {
            key: values for key, values in told.items() if all(isinstance(value, int | float | str) for value in values)
        }
        if plain:
            lines += [f"`{name}`", "", *_table(plain), ""]
    return lines


def _keys(runs: Sequence[Mapping[str, object]]) -> list[str]:
    return [key for key in dict.fromkeys(key for run in runs for key in run) if key != "value"]


def _table(columns: Mapping[str, Sequence[float | str]]) -> list[str]:
    heads = [key.replace("_", " ") for key in columns]
    rows = zip(*columns.values(), strict=True)
    return [
        f"| {' | '.join(heads)} |",
        f"|{'---:|' * len(heads)}",
        *(f"| {' | '.join(number(value) for value in row)} |" for row in rows),
    ]


def _unit(unit: str) -> str:
    return "" if unit == "ratio" else unit


def number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{value:.4g}"
