"""Between the interface's types and the gateway's JSON."""

from __future__ import annotations

import json

from hypothesis import given
from hypothesis import strategies as st

from keyfold.store.etcd.codec import prefix_end, text64, txn_request, txn_result, watch_request
from keyfold.store.etcd.scan import next_limit
from keyfold.store.interface import Delete, KeyValue, Put, TxnResult, Unchanged


@given(st.binary(max_size=6), st.binary(max_size=6), st.binary(max_size=6))
def test_a_prefixs_range_holds_exactly_the_keys_that_start_with_it(prefix: bytes, tail: bytes, other: bytes) -> None:
    end = prefix_end(prefix)

    def inside(key: bytes) -> bool:
        return key >= prefix and (end == b"\0" or key < end)

    assert inside(prefix + tail)
    assert inside(other) == other.startswith(prefix)


def test_a_transaction_asks_for_the_compared_keys_in_case_it_fails() -> None:
    request = json.loads(txn_request([Unchanged("c", 7)], [Put("k", b"\xff", lease=3), Delete("d")]))
    assert request == {
        "compare": [{"key": text64(b"c"), "target": "MOD", "result": "EQUAL", "mod_revision": "7"}],
        "success": [
            {"request_put": {"key": text64(b"k"), "value": text64(b"\xff"), "lease": "3"}},
            {"request_delete_range": {"key": text64(b"d")}},
        ],
        "failure": [{"request_range": {"key": text64(b"c")}}],
    }


def test_numbers_beyond_53_bits_come_through() -> None:
    lease = 7587890123456789015
    found = {"key": text64(b"k"), "lease": str(lease), "mod_revision": "9007199254740993"}
    answer = {"header": {"revision": "9007199254740994"}, "responses": [{"response_range": {"kvs": [found]}}]}
    assert txn_result([Unchanged("k", 1)], answer) == TxnResult(
        False, 9007199254740994, {"k": KeyValue("k", b"", 9007199254740993, 0, 0, lease)}
    )


def test_a_watch_of_everything_has_no_end() -> None:
    request = json.loads(watch_request(b"", 1, progress=False))["create_request"]
    assert request["range_end"] == text64(b"\0")


def test_a_watch_asks_for_fragments_so_that_memory_stays_bounded() -> None:
    assert json.loads(watch_request(b"p", 1, progress=True))["create_request"] == {
        "key": text64(b"p"),
        "range_end": text64(b"q"),
        "start_revision": "1",
        "progress_notify": True,
        "fragment": True,
    }


def test_pages_shrink_for_large_values_and_never_below_one_key() -> None:
    def page(size: int) -> list[KeyValue]:
        return [KeyValue("k", b"x" * size, 1, 1, 1, 0)] * 3

    assert next_limit(page(1_000), 500) == 500
    assert next_limit(page(100_000), 500) == 41
    assert next_limit(page(10_000_000), 500) == 1
