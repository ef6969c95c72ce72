"""The probes of `keyfold store check`, each in a scratch collection of its own below the store's root."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from xml.etree.ElementTree import Element, ParseError

# defusedxml ships no types; it refuses entities and external references, which expat would follow.
import defusedxml.ElementTree  # type: ignore[import-untyped]
from defusedxml import DefusedXmlException

from keyfold.clock import Clock
from keyfold.errors import KeyfoldError
from keyfold.remote import multistatus
from keyfold.remote.check.grade import Observation
from keyfold.remote.check.wire import Answer, Question, Wire
from keyfold.remote.interface import Entry

RACERS = 24
SCRATCH = "keyfold-check-"

_CREATE = {"If-None-Match": "*"}
_XML = {"Content-Type": 'application/xml; charset="utf-8"'}
_OLD, _NEW = b"the old content", b"the new content, which is longer"
_LARGE_BYTES = 1 << 20
_FORGED = datetime(2001, 9, 9, 1, 46, 40, tzinfo=UTC)
_QUOTA = b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><quota-available-bytes/></prop></propfind>'
_FORGE = (
    '<?xml version="1.0"?><propertyupdate xmlns="DAV:"><set><prop>'
    f"<getlastmodified>{format_datetime(_FORGED, usegmt=True)}</getlastmodified></prop></set></propertyupdate>"
).encode()
# How often a server is looked at before its state after an abort is taken for final.
_LOOKS, _PAUSE_SECONDS = 5, 0.2


class Probes:
    """`run` makes every observation; what it could not remove afterwards is in `left`."""

    def __init__(self, wire: Wire, clock: Clock) -> None:
        self._wire = wire
        self._clock = clock
        self._place = f"{SCRATCH}{secrets.token_hex(8)}"
        self.left = ""

    def run(self) -> list[Observation]:
        """KeyfoldError if the store cannot be reached or its certificate not be believed.

        Stops early where nothing further can be learnt; what was not observed is then missing.
        """
        version = self._wire.tls_version()
        found = [Observation("tls_version", version if version in ("TLSv1.3", "TLSv1.2") else "older", version)]
        found.append(self._client_certificate())
        made = self._ask("MKCOL", "/")
        found.append(Observation("make_collection", "made" if made.status == 201 else "failed", f"HTTP {made.status}"))
        if made.status != 201:
            return found
        self.left = self._place
        found.append(self._clock_of(made))
        try:
            for probe in self._inside():
                # A server that hangs up on a probe leaves it without an observation.
                with suppress(OSError):
                    found.append(probe())
        finally:
            self._tidy()
        return found

    def _inside(self) -> Iterator[Callable[[], Observation]]:
        yield from (self._read_after_write, self._content_length, self._listing, self._receive_time)
        yield from (self._aborted_put_new, self._plain_put_over, self._aborted_put_over)
        yield from (self._no_clobber, self._no_clobber_race, self._move_no_overwrite, self._mkcol_race)
        yield from (self._content_range_put, self._range_get, self._chunked_put, self._quota, self._delete)

    # --- who may come, and what time it is --------------------------------------------------------------------

    def _client_certificate(self) -> Observation:
        answer = self._wire.ask(Question("PROPFIND", "", multistatus.REQUEST, {**_XML, "Depth": "0"}), anonymous=True)
        outcome = "not_demanded" if answer.good else "demanded"
        return Observation("client_certificate", outcome, f"HTTP {answer.status}" if answer.status else "")

    def _clock_of(self, answer: Answer) -> Observation:
        try:
            skew = parsedate_to_datetime(answer.headers.get("date", "")).astimezone(UTC) - self._clock.utc()
        except ValueError:
            return Observation("clock", "absent")
        off = abs(skew) > timedelta(hours=1)
        return Observation("clock", "off" if off else "agrees", f"{skew.total_seconds():+.0f} s")

    # --- storing and reading ----------------------------------------------------------------------------------

    def _read_after_write(self) -> Observation:
        content = os.urandom(_LARGE_BYTES)
        stored = self._put("whole", content)
        read = self._ask("GET", "/whole")
        if not stored.good or read.status != 200:
            return Observation("read_after_write", "failed", f"PUT {stored.status}, GET {read.status}")
        return Observation("read_after_write", "same" if read.body == content else "different")

    def _content_length(self) -> Observation:
        self._put("length", _OLD)
        told = self._ask("HEAD", "/length").headers.get("content-length", "none")
        right = told == str(len(_OLD)) and self._content("length") == _OLD
        return Observation("content_length", "honoured" if right else "wrong", f"{told} of {len(_OLD)} bytes")

    def _listing(self) -> Observation:
        self._put("listed", _OLD)
        entry = self._entry("listed")
        if entry is None or entry.size != len(_OLD):
            return Observation("listing", "wrong")
        return Observation("listing", "true" if entry.modified > _FORGED else "no_time")

    def _receive_time(self) -> Observation:
        self._put("dated", _OLD, {"X-OC-Mtime": str(int(_FORGED.timestamp()))})
        if self._looks_forged("dated"):
            return Observation("receive_time", "forged", "X-OC-Mtime")
        self._ask("PROPPATCH", "/dated", _FORGE, _XML)
        if self._looks_forged("dated"):
            return Observation("receive_time", "forged", "PROPPATCH")
        return Observation("receive_time", "its_own")

    def _looks_forged(self, name: str) -> bool:
        entry = self._entry(name)
        return entry is not None and entry.modified == _FORGED

    # --- what an abort leaves, and what can be overwritten ----------------------------------------------------

    def _aborted_put_new(self) -> Observation:
        self._wire.put_aborted(f"{self._place}/aborted", 2 * _LARGE_BYTES, os.urandom(_LARGE_BYTES), _CREATE)
        content = self._settled("aborted")
        if content is None:
            return Observation("aborted_put_new", "nothing")
        return Observation("aborted_put_new", "partial", f"{len(content)} bytes")

    def _plain_put_over(self) -> Observation:
        self._put("plain", _OLD)
        status = self._ask("PUT", "/plain", _NEW).status
        outcome = "refused" if self._content("plain") == _OLD else "overwrites"
        return Observation("plain_put_over", outcome, f"HTTP {status}")

    def _aborted_put_over(self) -> Observation:
        if self._content("plain") == _OLD:
            return Observation("aborted_put_over", "impossible")
        self._put("over", _OLD)
        self._wire.put_aborted(f"{self._place}/over", 2 * _LARGE_BYTES, os.urandom(_LARGE_BYTES), {})
        return Observation("aborted_put_over", "kept" if self._settled("over") == _OLD else "destroyed")

    def _no_clobber(self) -> Observation:
        self._put("clobber", _OLD)
        status = self._put("clobber", _NEW).status
        outcome = "refused" if self._content("clobber") == _OLD else "overwrites"
        return Observation("no_clobber", outcome, f"HTTP {status}")

    def _no_clobber_race(self) -> Observation:
        name = f"{self._place}/raced"
        racers = [Question("PUT", name, f"racer {number}".encode() * 1000, _CREATE) for number in range(RACERS)]
        return _winners("no_clobber_race", self._wire.race(racers))

    def _move_no_overwrite(self) -> Observation:
        self._put("from", _NEW)
        self._put("to", _OLD)
        # Some servers want a whole URI, some (behind a proxy) only a path (RFC 4918 §10.3).
        for destination in (self._wire.url, self._wire.root):
            headers = {"Destination": f"{destination}{self._place}/to", "Overwrite": "F"}
            status = self._ask("MOVE", "/from", headers=headers).status
            if 200 <= status < 300 or status in (403, 412):
                break
        if self._content("to") != _OLD:
            return Observation("move_no_overwrite", "overwrites", f"HTTP {status}")
        return Observation("move_no_overwrite", "refused" if status == 412 else "denied", f"HTTP {status}")

    def _mkcol_race(self) -> Observation:
        return _winners("mkcol_race", self._wire.race([Question("MKCOL", f"{self._place}/made/")] * RACERS))

    # --- parts, lengths, space --------------------------------------------------------------------------------

    def _content_range_put(self) -> Observation:
        answer = self._put("ranged", b"0123", {"Content-Range": "bytes 0-3/8"})
        return Observation("content_range_put", "accepted" if answer.good else "refused", f"HTTP {answer.status}")

    def _range_get(self) -> Observation:
        answer = self._ask("GET", "/length", headers={"Range": "bytes=4-6"})
        if answer.status == 206 and answer.body == _OLD[4:7]:
            return Observation("range_get", "part")
        return Observation("range_get", "whole" if answer.body == _OLD else "failed", f"HTTP {answer.status}")

    def _chunked_put(self) -> Observation:
        content = os.urandom(_LARGE_BYTES)
        pieces = (content[at : at + 65536] for at in range(0, len(content), 65536))
        answer = self._wire.put_chunked(f"{self._place}/chunked", pieces, _CREATE)
        if not answer.good:
            return Observation("chunked_put", "refused", f"HTTP {answer.status}")
        return Observation("chunked_put", "stored" if self._content("chunked") == content else "corrupted")

    def _quota(self) -> Observation:
        answer = self._ask("PROPFIND", "/", _QUOTA, {**_XML, "Depth": "0"})
        left = _property(answer.body, "quota-available-bytes") if answer.status == 207 else ""
        return Observation("quota", "told" if left else "not_told", f"{left} bytes" if left else "")

    def _delete(self) -> Observation:
        self._put("deleted", _OLD)
        status = self._ask("DELETE", "/deleted").status
        return Observation("delete", "allowed" if self._content("deleted") is None else "refused", f"HTTP {status}")

    # --- the scratch collection -------------------------------------------------------------------------------

    def _tidy(self) -> None:
        self._ask("DELETE", "/")
        if self._ask("PROPFIND", "/", multistatus.REQUEST, {**_XML, "Depth": "0"}).status in (404, 410):
            self.left = ""

    def _put(self, name: str, content: bytes, headers: dict[str, str] | None = None) -> Answer:
        return self._ask("PUT", f"/{name}", content, {**_CREATE, **(headers or {})})

    def _ask(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Answer:
        return self._wire.ask(Question(method, self._place + path, body, headers))

    def _content(self, name: str) -> bytes | None:
        answer = self._ask("GET", f"/{name}")
        return answer.body if answer.status == 200 else None

    def _settled(self, name: str) -> bytes | None:
        """The content once the server had time to notice that the upload broke off."""
        for _ in range(_LOOKS):
            self._clock.sleep(_PAUSE_SECONDS)
            content = self._content(name)
        return content

    def _entry(self, name: str) -> Entry | None:
        answer = self._ask("PROPFIND", "/", multistatus.REQUEST, {**_XML, "Depth": "1"})
        try:
            entries = multistatus.parse(answer.body, self._wire.root + self._place)
        except KeyfoldError:
            return None
        return next((entry for entry in entries if entry.name == name), None)


def _winners(probe: str, statuses: list[int]) -> Observation:
    won = sum(200 <= status < 300 for status in statuses)
    return Observation(probe, "none" if won == 0 else "one" if won == 1 else "several", f"{won} of {len(statuses)}")


def _property(document: bytes, name: str) -> str:
    """The text of a property that was found (RFC 4918 §14.22); "" otherwise."""
    try:
        root: Element = defusedxml.ElementTree.fromstring(document, forbid_dtd=True)
    except (ParseError, DefusedXmlException, ValueError):
        return ""
    for propstat in root.iter("{DAV:}propstat"):
        if " 200 " in propstat.findtext("{DAV:}status", "") + " ":
            return propstat.findtext(f"{{DAV:}}prop/{{DAV:}}{name}", "").strip()
    return ""
