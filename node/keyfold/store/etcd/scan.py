"""All keys under a prefix at one revision, in pages that stay small in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

from keyfold.store.etcd.codec import header_revision, key_values, page_request, prefix_end
from keyfold.store.interface import KeyValue, Scan

_FIRST_PAGE = 64
_PAGE_BYTES = 4 * 1024 * 1024

Range = Callable[[bytes], dict[str, Any]]


def scan(ask: Range, prefix: str, *, revision: int, keys_only: bool, page: int) -> Scan:
    """`ask` sends a RangeRequest. The first page is fetched now, because its answer says the revision of all others."""
    start, end = prefix.encode() or b"\0", prefix_end(prefix.encode())
    limit = min(page, _FIRST_PAGE)
    first = ask(page_request(start, end, revision=revision, limit=limit, keys_only=keys_only))
    at = revision or header_revision(first)

    def items() -> Iterator[KeyValue]:
        answer = first
        while True:
            found = key_values(answer)
            yield from found
            if not answer.get("more", False):
                return
            following = found[-1].key.encode() + b"\0"
            limit = next_limit(found, page)
            answer = ask(page_request(following, end, revision=at, limit=limit, keys_only=keys_only))

    return Scan(at, items())


def next_limit(last_page: list[KeyValue], page: int) -> int:
    """How many keys to ask for next: about 4 MiB if they are as large as the last ones, at most `page`."""
    average = sum(len(kv.key) + len(kv.value) for kv in last_page) // len(last_page)
    return max(1, min(page, _PAGE_BYTES // max(average, 1)))
