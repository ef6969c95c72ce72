"""docs/clients.md says nothing that the scenario `clients` does not run."""

from __future__ import annotations

from pathlib import Path

from scenario.page import blocks

ROOT = Path(__file__).resolve().parents[2]


def test_every_block_of_the_page_is_used_by_the_scenario() -> None:
    sources = [*(ROOT / "molecule/clients/tests").glob("*.py"), ROOT / "tests/testinfra/scenario/shop.py"]
    tests = "".join(source.read_text() for source in sources)
    unused = [name for name in blocks(ROOT / "docs/clients.md") if f'"{name}"' not in tests]
    assert unused == []


def test_no_block_of_the_page_has_a_pin_among_its_arguments() -> None:
    for name, text in blocks(ROOT / "docs/clients.md").items():
        for option in ("--pin ", "--so-pin ", "--set-pin", "pin-value", "-storepass "):
            after = [part.split()[0] for part in text.split(option)[1:]]
            assert all(value.startswith("env:") for value in after), f"{name}: {option}"
