"""docs/packages.md says what the role's data says, and the node takes those data."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from keyfold.config import Config
from keyfold.package import Package, parse_package
from keyfold.store import StoreConfig

ROOT = Path(__file__).resolve().parents[2]
PACKAGES: dict[str, dict[str, Any]] = yaml.safe_load((ROOT / "roles/node/defaults/main.yml").read_text())[
    "node_packages"
]
PAGE = (ROOT / "docs/packages.md").read_text()


def table() -> dict[str, dict[str, str]]:
    """Package → key → cell."""
    lines = PAGE[PAGE.index("## What each has") : PAGE.index("## What bites where")].splitlines()
    head, _, *rows = [[cell.strip(" `") for cell in line.strip("|").split("|")] for line in lines if line[:1] == "|"]
    return {name: {row[0]: row[at] for row in rows} for at, name in enumerate(head[1:], start=1)}


def cell(key: str, value: Any) -> str:
    return (f"{len(value)}, below" if value else "all") if key == "mechanisms" else str(value)


def test_the_table_is_the_data() -> None:
    assert table() == {name: {key: cell(key, value) for key, value in row.items()} for name, row in PACKAGES.items()}


def test_the_mechanisms_are_listed_as_they_are() -> None:
    (listed,) = re.findall(r"^Mechanisms of `ECO_CC`: (.*)\.$", PAGE, re.MULTILINE)
    assert listed.replace("`", "").split(", ") == PACKAGES["ECO_CC"]["mechanisms"]


@pytest.mark.parametrize("name", PACKAGES)
def test_the_node_takes_every_package(name: str) -> None:
    package = parse_package(name, PACKAGES[name])
    assert isinstance(package, Package)
    assert package.tasks_max > package.max_connections


def test_every_package_says_everything() -> None:
    """A key that one leaves out would have the least limit there, unseen."""
    assert len({frozenset(row) for row in PACKAGES.values()}) == 1


def test_every_process_of_the_largest_package_can_ask_the_agent_at_once() -> None:
    packages = {name: parse_package(name, row) for name, row in PACKAGES.items()}
    config = Config("u", "test", "hsm1", "dc1", "primary", StoreConfig(()), None, packages)
    assert config.callers_per_partition > packages["PLATINUM"].max_connections == 256
