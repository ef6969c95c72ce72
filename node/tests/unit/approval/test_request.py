from __future__ import annotations

import hashlib
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.approval.request import MAX_REQUEST_BYTES, parse
from keyfold.errors import KeyfoldError

LINES = """\
kind: purge
cluster: 11111111-2222-4333-8444-555555555555
partition: acme
ticket: REQ-7
reason: the key is compromised
requested_by: operator
expires: 2026-03-02T12:00:00Z
objects:
  - a.object
"""


def refusal(text: str | bytes) -> str:
    with pytest.raises(KeyfoldError) as caught:
        parse(text if isinstance(text, bytes) else text.encode())
    assert caught.value.code == "invalid"
    return caught.value.what


def test_a_request_is_read_as_a_person_reads_it() -> None:
    request = parse(LINES.encode())
    assert (request.kind, request.partition, request.ticket) == ("purge", "acme", "REQ-7")
    assert request.expires == datetime(2026, 3, 2, 12, tzinfo=UTC)
    assert request.own == {"objects": ["a.object"]}


def test_its_id_is_the_hash_of_its_exact_bytes() -> None:
    assert parse(LINES.encode()).id == hashlib.sha256(LINES.encode()).hexdigest()
    assert parse(LINES.encode() + b"# seen\n").id != parse(LINES.encode()).id


def test_the_partition_can_be_left_out() -> None:
    assert parse(LINES.replace("partition: acme\n", "").encode()).partition is None


@pytest.mark.parametrize(
    ("before", "after", "complaint"),
    [
        ("kind: purge", "kind: everything", "no kind 'everything'"),
        ("kind: purge", "kind: purge\nkind: reactivate", "in line 2: 'kind' stands twice"),
        ("  - a.object", "  - {file: a, file: b}", "'file' stands twice"),
        ("ticket: REQ-7\n", "", "'ticket' is missing"),
        ("ticket: REQ-7", "ticket: 7", "'ticket' is missing, empty or not text"),
        ("reason: the key is compromised", "reason: ' '", "'reason' is missing, empty"),
        ("12:00:00Z", "12:00:00", "not a moment in UTC"),
        ("12:00:00Z", "12:00:00+02:00", "not a moment in UTC"),
        ("2026-03-02T12:00:00Z", "tomorrow", "not a moment in UTC"),
        ("partition: acme", "partition: [acme]", "not a partition's name"),
        ("  - a.object", "  - .nan", "values that JSON does not know"),
        ("  - a.object", "  - !!binary aGFsbG8=", "values that JSON does not know"),
        ("  - a.object", "  - !!python/object/apply:os.system [id]", "not YAML as Keyfold reads it"),
        ("objects:\n", "objects: &a\n  - *a\n", "aliases are not allowed"),
        ("objects:\n", "<<: {kind: restore}\nobjects:\n", "a key that is not plain text"),
        ("objects:\n", "7: x\nobjects:\n", "a key that is not plain text"),
        (LINES, "- a list\n", "not a mapping"),
        (LINES, "", "not a mapping"),
        ("kind: purge", "\tkind: purge", "not YAML"),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(before: str, after: str, complaint: str) -> None:
    assert before in LINES
    assert complaint in refusal(LINES.replace(before, after))


def test_what_is_too_large_too_deep_or_not_text_is_refused() -> None:
    assert "bytes" in refusal(LINES + "#" * MAX_REQUEST_BYTES)
    assert "not UTF-8" in refusal(b"\xff\xfe")
    assert "nested too deeply" in refusal("a: " + "[" * 50_000)


@given(st.binary(max_size=200) | st.text(max_size=200).map(lambda text: text.encode("utf-8", "replace")))
def test_garbage_is_refused_and_never_a_defect(raw: bytes) -> None:
    with pytest.raises(KeyfoldError):
        parse(raw)
