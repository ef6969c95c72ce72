"""From the bytes of a watch to whole batches."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.store.etcd.codec import key64, text64
from keyfold.store.etcd.stream import Assembler, HistoryGone, Lines, StreamEnded
from keyfold.store.interface import Batch


def response(revisions: list[int], *, header: int = 99, **fields: object) -> bytes:
    """A watch response with an event per entry, of the revision that the entry says."""
    result: dict[str, Any] = {"header": {"revision": str(header)}, **fields}
    if revisions:
        result["events"] = [
            {"kv": {"key": key64(f"k{i}"), "mod_revision": str(revision), "value": text64(b"v")}}
            for i, revision in enumerate(revisions)
        ]
    return json.dumps({"result": result}).encode()


def revisions(batch: Batch | None) -> list[int]:
    assert batch is not None
    return [event.mod_revision for event in batch.events]


@given(st.lists(st.binary(max_size=30).map(lambda line: line.replace(b"\n", b""))), st.data())
def test_lines_are_the_same_however_the_stream_was_cut(lines: list[bytes], data: st.DataObject) -> None:
    stream = b"".join(line + b"\n" for line in lines)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
    splitter = Lines()
    pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
    assert [line for piece in pieces for line in splitter.feed(piece)] == lines


def test_a_line_without_its_end_is_not_delivered_yet() -> None:
    splitter = Lines()
    assert list(splitter.feed(b"begin")) == []
    assert list(splitter.feed(b" end\nnext")) == [b"begin end"]


def test_a_batch_says_the_revision_of_its_last_event_not_of_the_header() -> None:
    """While catching up, the header's revision is the store's, and more answers follow."""
    batch = Assembler(delivered=4).feed(response([5, 5, 7], header=99))
    assert batch is not None
    assert (batch.revision, revisions(batch)) == (7, [5, 5, 7])


def test_a_revision_cut_in_two_by_a_fragment_is_delivered_whole() -> None:
    assembler = Assembler(delivered=4)
    assert revisions(assembler.feed(response([5, 6, 6], fragment=True))) == [5]
    assert assembler.feed(response([6, 6], fragment=True)) is None
    assert revisions(assembler.feed(response([6, 7], fragment=True))) == [6, 6, 6, 6, 6]
    assert revisions(assembler.feed(response([7, 8]))) == [7, 7, 8]
    assert assembler.delivered == 8


@given(st.lists(st.integers(1, 4), min_size=1, max_size=12), st.data())
def test_fragments_never_tear_a_revision_and_lose_nothing(sizes: list[int], data: st.DataObject) -> None:
    sent = [revision for revision, size in enumerate(sizes, start=1) for _ in range(size)]
    cuts = sorted(set(data.draw(st.lists(st.integers(1, max(1, len(sent) - 1))))) & set(range(1, len(sent))))
    pieces = [sent[a:b] for a, b in zip([0, *cuts], [*cuts, len(sent)], strict=True)]
    assembler = Assembler(delivered=0)
    batches = [
        assembler.feed(response(piece, **({} if number == len(pieces) else {"fragment": True})))
        for number, piece in enumerate(pieces, start=1)
    ]
    delivered = [revisions(batch) for batch in batches if batch is not None]
    assert [revision for batch in delivered for revision in batch] == sent
    assert sum(len(set(batch)) for batch in delivered) == len(sizes)


def test_a_progress_notification_tells_how_far_the_watch_is() -> None:
    assembler = Assembler(delivered=4)
    assert assembler.feed(response([], header=9)) == Batch(9, ())
    assert assembler.delivered == 9


@pytest.mark.parametrize("header", [8, 9])
def test_progress_that_is_not_news_is_not_delivered(header: int) -> None:
    assembler = Assembler(delivered=9)
    assert assembler.feed(response([], header=header)) is None
    assert assembler.delivered == 9


def test_the_answer_that_a_watch_was_created_delivers_nothing() -> None:
    """Its header has the store's revision, and everything before that is still to come."""
    assembler = Assembler(delivered=4)
    assert assembler.feed(response([], header=99, created=True)) is None
    assert assembler.delivered == 4


def test_a_deleted_key_is_an_event_without_a_value() -> None:
    line = b'{"result":{"header":{},"events":[{"type":"DELETE","kv":{"key":"aw==","mod_revision":"7"}}]}}'
    batch = Assembler(delivered=0).feed(line)
    assert batch is not None
    (event,) = batch.events
    assert (event.key, event.value, event.mod_revision) == ("k", None, 7)


def test_a_compacted_watch_says_what_is_left() -> None:
    with pytest.raises(HistoryGone) as caught:
        Assembler(delivered=0).feed(response([], canceled=True, compact_revision="12"))
    assert caught.value.compact_revision == 12


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        (response([], canceled=True, cancel_reason="etcdserver: no leader"), "no leader"),
        (response([], canceled=True), "canceled"),
        (b'{"error":{"grpc_code":14,"message":"etcdserver: no leader","http_code":503}}', "no leader"),
    ],
)
def test_any_other_end_is_a_reason_to_connect_again(line: bytes, reason: str) -> None:
    with pytest.raises(StreamEnded, match=reason):
        Assembler(delivered=0).feed(line)
