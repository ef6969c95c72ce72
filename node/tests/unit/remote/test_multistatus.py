from __future__ import annotations

from datetime import UTC, datetime

import pytest

from keyfold.errors import KeyfoldError
from keyfold.remote.multistatus import free_bytes, parse

# As Apache 2.4 mod_dav_fs answers: prefixes of its own, a propstat for what it does not have.
APACHE = b"""<?xml version="1.0" encoding="utf-8"?>
<D:multistatus xmlns:D="DAV:" xmlns:ns0="DAV:">
<D:response xmlns:lp1="DAV:"><D:href>/keyfold/sets/</D:href><D:propstat><D:prop>
<lp1:resourcetype><D:collection/></lp1:resourcetype>
<lp1:getlastmodified>Mon, 23 Nov 2026 10:00:00 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat>
<D:propstat><D:prop><D:getcontentlength/></D:prop><D:status>HTTP/1.1 404 Not Found</D:status></D:propstat>
</D:response>
<D:response xmlns:lp1="DAV:"><D:href>/keyfold/sets/acme.age</D:href><D:propstat><D:prop>
<lp1:resourcetype/><lp1:getcontentlength>1234</lp1:getcontentlength>
<lp1:getlastmodified>Mon, 23 Nov 2026 10:00:01 GMT</lp1:getlastmodified></D:prop>
<D:status>HTTP/1.1 200 OK</D:status></D:propstat></D:response>
</D:multistatus>"""


def document(*hrefs: str) -> bytes:
    members = "".join(
        f"<response><href>{href}</href><propstat><prop><getcontentlength>1</getcontentlength></prop>"
        "<status>HTTP/1.1 200 OK</status></propstat></response>"
        for href in hrefs
    )
    return f'<multistatus xmlns="DAV:">{members}</multistatus>'.encode()


def test_members_have_size_kind_and_time() -> None:
    (entry,) = parse(APACHE, "/keyfold/sets/")
    assert (entry.name, entry.collection, entry.size) == ("acme.age", False, 1234)
    assert entry.modified == datetime(2026, 11, 23, 10, 0, 1, tzinfo=UTC)


@pytest.mark.parametrize("href", ["/s/a", "https://store/s/a", "/s/%61", "/s/a/"])
def test_every_spelling_of_a_member_is_understood(href: str) -> None:
    assert [entry.name for entry in parse(document(href), "/s/")] == ["a"]


@pytest.mark.parametrize("href", ["/s/", "/t/a", "/s/b/a", "/s/../a", "/s/.hidden", "/s/a%2F..%2Fb", "/s/a%20b", ""])
def test_what_is_not_a_member_is_left_out(href: str) -> None:
    assert parse(document(href), "/s/") == ()


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"<html>",
        b"<html></html>",
        b'<!DOCTYPE m [<!ENTITY a "aaaa"><!ENTITY b "&a;&a;">]><multistatus xmlns="DAV:">&b;</multistatus>',
        b'<!DOCTYPE m SYSTEM "file:///etc/passwd"><multistatus xmlns="DAV:"/>',
    ],
)
def test_what_is_no_multistatus_is_a_store_error(hostile: bytes) -> None:
    with pytest.raises(KeyfoldError) as caught:
        parse(hostile, "/s/")
    assert caught.value.code == "store_error"


def quota(prop: str) -> bytes:
    response = (
        f"<response><href>/keyfold/</href><propstat><prop>{prop}</prop><status>HTTP/1.1 200 OK</status></propstat>"
    )
    return f'<multistatus xmlns="DAV:">{response}</response></multistatus>'.encode()


@pytest.mark.parametrize(
    ("prop", "room"),
    [
        ("<quota-available-bytes>12</quota-available-bytes>", 12),
        ("<quota-available-bytes/>", None),
        ("<quota-available-bytes>-1</quota-available-bytes>", None),
        ("", None),
    ],
)
def test_the_room_is_what_the_store_says_and_nothing_else(prop: str, room: int | None) -> None:
    assert free_bytes(quota(prop)) == room


def test_a_room_that_is_not_told_is_none() -> None:
    assert free_bytes(APACHE) is None
    with pytest.raises(KeyfoldError):
        free_bytes(b"<html/>")
