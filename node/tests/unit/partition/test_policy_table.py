"""docs/policy.md is true to the tests: its table has the rows of the module's tests, its keys are the policy's."""

from __future__ import annotations

import re
from pathlib import Path

from keyfold.partition.policy import DEFAULT_POLICY

NODE = Path(__file__).parents[3]
ROOT = NODE.parent
TESTS = NODE / "pkcs11" / "tests" / "test_policy.c"
_ROW = re.compile(r'ROW\("([^"]+)",\s*\w+,\s*"([^"]+)",\s*(C_\w+),\s*(CKR_\w+),\s*\w+\)')


def rows(heading: str) -> list[list[str]]:
    """Cells of the tables of one section of docs/policy.md, without header and rule."""
    section = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8").partition(f"\n## {heading}\n")[2]
    lines = [line for line in section.partition("\n## ")[0].splitlines() if line.startswith("|")]
    return [[cell.strip().replace("`", "") for cell in line.strip("|").split("|")] for line in lines[2:]]


def test_the_table_has_the_rows_that_are_tested_in_their_order() -> None:
    source = TESTS.read_text(encoding="utf-8")
    tested = [[key, call, what, code] for key, what, call, code in _ROW.findall(source)]
    assert len(tested) == source.count("\n    ROW(") > 40
    assert rows("What a call returns") == tested


def test_the_rows_are_nowhere_else_on_the_page() -> None:
    page = (ROOT / "docs" / "policy.md").read_text(encoding="utf-8")
    assert page.count("| C_") == len(rows("What a call returns"))


def test_every_key_of_the_policy_is_there_with_its_default() -> None:
    documented = {}
    for names, defaults, _ in rows("The keys"):
        documented.update(zip(names.split(", "), defaults.split(", "), strict=True))
    package = documented.pop("max_size_bytes")
    assert package == "the package's"
    assert documented == {key: str(value).lower() for key, value in DEFAULT_POLICY.items()}
