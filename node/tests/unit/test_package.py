"""Packages are data: what is wrong with them is said by name before anything uses them."""

from __future__ import annotations

from typing import Any

import pytest

from keyfold.package import LONGEST_MECHANISMS_BYTES, Package, parse_package

ROW: dict[str, Any] = {"max_size_bytes": 10, "backup": "always"}


def test_what_a_row_leaves_out_has_the_least_limits() -> None:
    assert parse_package("ECO", ROW) == Package("ECO", 10, "always")


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"colour": "red"}, "colour"),
        ({"backup": "sometimes"}, "sometimes"),
        ({"max_connections": 0}, "max_connections"),
        ({"max_connections": "64"}, "max_connections"),
        ({"nice": -5}, "nice"),
        ({"nice": True}, "nice"),
        ({"mechanisms": ["CKM_ECDSA, CKM_MD5"]}, "CKM_ECDSA, CKM_MD5"),
        ({"mechanisms": ["ECDSA\nobjectstore.backend = db"]}, "ECDSA"),
        ({"mechanisms": ["CKM_" + "X" * 60] * (LONGEST_MECHANISMS_BYTES // 60)}, "bytes of a line"),
    ],
)
def test_a_row_that_cannot_be_kept_is_refused_by_name(change: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match="package ECO") as caught:
        parse_package("ECO", {**ROW, **change})
    assert named in str(caught.value)
