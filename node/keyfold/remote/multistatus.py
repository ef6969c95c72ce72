"""The answer to PROPFIND: a multistatus document (RFC 4918 §13), from a server that is not trusted with XML."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from urllib.parse import unquote, urlsplit
from xml.etree.ElementTree import Element, ParseError

# defusedxml ships no types; it refuses entities and external references, which expat would follow.
import defusedxml.ElementTree  # type: ignore[import-untyped]
from defusedxml import DefusedXmlException

from keyfold.remote import errors
from keyfold.remote.interface import Entry, is_segment

REQUEST = (
    b'<?xml version="1.0" encoding="utf-8"?>'
    b'<propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/><getlastmodified/></prop></propfind>'
)
FREE_REQUEST = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
)

_DAV = "{DAV:}"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def parse(document: bytes, collection_path: str) -> tuple[Entry, ...]:
    """The members directly inside `collection_path` (the URL's decoded path), ordered by name.

    The collection's own response and members whose name could not have come from Keyfold are left out.
    KeyfoldError(store_error) if the document is no multistatus.
    """
    root = _root(document)
    return tuple(sorted(_entries(root, collection_path.strip("/")), key=lambda entry: entry.name))


def free_bytes(document: bytes) -> int | None:
    """`quota-available-bytes` (RFC 4331 §3), None if the server does not tell; errors as `parse`."""
    for response in _root(document).iter(f"{_DAV}response"):
        properties = _found_properties(response)
        if properties is not None:
            text = properties.findtext(f"{_DAV}quota-available-bytes", "").strip()
            return int(text) if text.isdecimal() else None
    return None


def _root(document: bytes) -> Element:
    try:
        root: Element = defusedxml.ElementTree.fromstring(document, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError) as error:
        raise errors.failed(f"the store's answer to PROPFIND is no usable XML: {error}") from error
    if root.tag != f"{_DAV}multistatus":
        raise errors.failed(f"the store answered PROPFIND with {root.tag}, not with a multistatus")
    return root


def _entries(root: Element, collection: str) -> Iterator[Entry]:
    for response in root.iter(f"{_DAV}response"):
        path = unquote(urlsplit(response.findtext(f"{_DAV}href", "").strip()).path).strip("/")
        parent, _, name = path.rpartition("/")
        if parent != collection or not is_segment(name):
            continue
        properties = _found_properties(response)
        if properties is not None:
            yield _entry(name, properties)


def _found_properties(response: Element) -> Element | None:
    for propstat in response.iter(f"{_DAV}propstat"):
        if " 200 " in propstat.findtext(f"{_DAV}status", "") + " ":
            return propstat.find(f"{_DAV}prop")
    return None


def _entry(name: str, properties: Element) -> Entry:
    collection = properties.find(f"{_DAV}resourcetype/{_DAV}collection") is not None
    length = properties.findtext(f"{_DAV}getcontentlength", "0").strip()
    return Entry(
        name,
        collection,
        int(length) if not collection and length.isdecimal() else 0,
        _time(properties.findtext(f"{_DAV}getlastmodified", "")),
    )


def _time(text: str) -> datetime:
    """RFC 9110 §5.6.7; the epoch where the server does not say."""
    try:
        return parsedate_to_datetime(text).astimezone(UTC)
    except ValueError:
        return _EPOCH
