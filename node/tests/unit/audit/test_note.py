from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.clocks import StillClock

from keyfold.audit.note import MAX_NOTE_BYTES, canonical, note
from keyfold.replication import keys


def test_a_note_says_what_who_where_and_when_under_a_name_of_its_own() -> None:
    one, two = (note(StillClock(), "hsm1", what="purge", who="ada", partition="acme", files=["a"]) for _ in range(2))
    assert one.key.startswith(keys.AUDIT_PENDING + "2026-03-01T12:00:00.000000Z-")
    assert one.key != two.key
    assert json.loads(one.value) == {
        "what": "purge",
        "who": "ada",
        "node": "hsm1",
        "time": "2026-03-01T12:00:00.000000Z",
        "partition": "acme",
        "files": ["a"],
    }


def test_what_is_not_known_is_left_out() -> None:
    assert set(json.loads(note(StillClock(), "n", what="w", who="w", ticket=None).value)) == {
        "what",
        "who",
        "node",
        "time",
    }


@pytest.mark.parametrize(
    "detail",
    [
        {"time": "x"},
        {"x": 1.5},
        {"x": b"y"},
        {"x": {"é": 1}},
        {"x": {1: 1}},
        {"x": "y" * MAX_NOTE_BYTES},
        {"x": "\ud800"},
    ],
)
def test_what_has_no_canonical_form_or_is_too_large_is_refused(detail: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        note(StillClock(), "n", what="w", who="w", **detail)


JSON_ABLE = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text("abc_", min_size=1), inner, max_size=3),
)


@given(st.dictionaries(st.text("abc_", min_size=1), JSON_ABLE, max_size=4))
def test_the_canonical_form_is_the_same_after_reading_it_back(value: dict[str, Any]) -> None:
    assert canonical(json.loads(canonical(value))) == canonical(value)
