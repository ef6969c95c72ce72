"""All keys under a prefix at one revision, in pages that stay small in memory."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from keyfold.store.etcd.codec import header_revision, key_values, page_request, prefix_end
from keyfold.store.interface import KeyValue, Scan

_FIRST_PAGE = 64
_PAGE_BYTES = 4 * 1024 * 1024

Range = Callable[[bytes], dict[str, Any]]


def ranges(prefix: str, without: str) -> list[tuple[bytes, bytes]]:
    """First key and end of what is to be read: all under `prefix`, or what is before and after `without` there."""
    whole = prefix.encode() or b"\0", prefix_end(prefix.encode())
    if not without:
        return [whole]
    return [(whole[0], without.encode()), (prefix_end(without.encode()), whole[1])]


def scan(ask: Range, parts: Sequence[tuple[bytes, bytes]], *, revision: int, keys_only: bool, page: int) -> Scan:
    """`ask` sends a RangeRequest. The first page is fetched now, because its answer says the revision of all others."""

    def request(start: bytes, end: bytes, at: int, limit: int) -> dict[str, Any]:
        return ask(page_request(start, end, revision=at, limit=limit, keys_only=keys_only))

    few = min(page, _FIRST_PAGE)
    first = request(*parts[0], revision, few)
    at = revision or header_revision(first)

    def items() -> Iterator[KeyValue]:
        for number, (start, end) in enumerate(parts):
            answer = first if number == 0 else request(start, end, at, few)
            while True:
                found = key_values(answer)
                yield from found
                if not answer.get("more", False):
                    break
                answer = request(found[-1].key.encode() + b"\0", end, at, next_limit(found, page))

    return Scan(at, items())


def next_limit(last_page: list[KeyValue], page: int) -> int:
    """How many keys to ask for next: about 4 MiB if they are as large as the last ones, at most `page`."""
    average = sum(len(kv.key) + len(kv.value) for kv in last_page) // len(last_page)
    return max(1, min(page, _PAGE_BYTES // max(average, 1)))
