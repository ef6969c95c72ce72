"""Write docs/benchmarks.md and its plots out of benchmarks/results.json; --check only says whether they are that."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from benchmarks.keyfold_bench import results
from benchmarks.keyfold_bench.page import page
from benchmarks.keyfold_bench.plots import plots

ROOT = Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benchmarks" / "results.json"
_DOCS = ROOT / "docs"
_PLOTS = "benchmarks"


def documents(entries: dict[str, results.Entry]) -> dict[str, str]:
    """Path below docs/ → content, for everything that is generated."""
    drawn = plots(entries)
    text = page(entries, {f"{_PLOTS}/{name}": caption for name, (caption, _) in drawn.items()})
    return {"benchmarks.md": text, **{f"{_PLOTS}/{name}": svg for name, (_, svg) in drawn.items()}}


def stale(docs: Path, wanted: dict[str, str]) -> list[str]:
    """Paths below `docs` that are not what is wanted, missing or left over."""
    left_over = {f"{_PLOTS}/{path.name}" for path in (docs / _PLOTS).glob("*")} - set(wanted)
    return sorted(left_over | {name for name, text in wanted.items() if _text(docs / name) != text})


def _text(path: Path) -> str | None:
    return path.read_text(encoding="utf-8") if path.exists() else None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--check", action="store_true", help="write nothing; fail if something is stale")
    check = parser.parse_args().check
    wanted = documents(results.load(RESULTS))
    outdated = stale(_DOCS, wanted)
    if check and outdated:
        print(f"not what {RESULTS.name} gives: {', '.join(outdated)}; run benchmarks/run demo", file=sys.stderr)
        return 1
    for name in outdated:
        path = _DOCS / name
        path.parent.mkdir(exist_ok=True)
        if name in wanted:
            path.write_text(wanted[name], encoding="utf-8")
        else:
            path.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main())
