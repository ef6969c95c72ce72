"""A WebDAV server (RFC 4918) over TLS with a client certificate."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from urllib.parse import unquote, urlsplit

import requests
from urllib3.exceptions import HTTPError

from keyfold.clock import Clock, SystemClock
from keyfold.errors import KeyfoldError
from keyfold.remote import errors, multistatus, tls
from keyfold.remote.interface import CHUNK_BYTES, Entry, ExpirableRemote, Remote, check_name

CONNECT_SECONDS = 10.0
# How long the server may be silent.
IDLE_SECONDS = 60.0
# A whole transfer has this long, and more for its length: a server that dribbles does not hold a run for ever.
TRANSFER_SECONDS = 120.0
SLOWEST_BYTES_PER_SECOND = 100_000

_LISTING_BYTES = 16 << 20
_DRAIN_BYTES = 1 << 16


class WebDavRemote(Remote):
    """`url` is the store's root and ends in `/`; `cert` and `key` are PEM files and tell who this is."""

    def __init__(
        self,
        url: str,
        ca: Path,
        cert: Path,
        key: Path,
        clock: Clock | None = None,
        *,
        idle_seconds: float = IDLE_SECONDS,
        transfer_seconds: float = TRANSFER_SECONDS,
    ) -> None:
        self._url = url if url.endswith("/") else url + "/"
        self._clock = clock or SystemClock()
        self._idle = idle_seconds
        self._transfer = transfer_seconds
        self._session = requests.Session()
        self._identity = tls.Identity(ca, cert, key)
        # The environment must not redirect backups through a proxy or widen whom we trust (REQUESTS_CA_BUNDLE).
        self._session.trust_env = False
        self._session.verify = str(ca)
        self._session.cert = (str(cert), str(key))
        self._session.headers.update({"Accept-Encoding": "identity", "User-Agent": "keyfold"})

    def put_new(self, name: str, body: BinaryIO, length: int) -> None:
        upload = _Upload(body, length, self._deadline(length))
        # An empty stream would make requests send it chunked, without the length.
        data = upload if length else b""
        with self._request("PUT", check_name(name), data=data, headers={"If-None-Match": "*"}) as response:
            self._drain(response)
            if response.status_code not in (201, 204):
                raise self._refusal(response, "PUT", name)

    @contextmanager
    def get(self, name: str) -> Iterator[Iterator[bytes]]:
        with self._request("GET", check_name(name)) as response:
            if response.status_code != 200:
                raise self._refusal(response, "GET", name)
            yield self._chunks(response, name)

    def list(self, collection: str = "") -> tuple[Entry, ...]:
        path = f"{check_name(collection)}/" if collection else ""
        document = self._propfind(path, "1", multistatus.REQUEST)
        return () if document is None else multistatus.parse(document, unquote(urlsplit(self._url + path).path))

    def free_bytes(self) -> int | None:
        document = self._propfind("", "0", multistatus.FREE_REQUEST)
        return None if document is None else multistatus.free_bytes(document)

    def _propfind(self, path: str, depth: str, body: bytes) -> bytes | None:
        """The multistatus document; None if there is nothing at `path`."""
        headers = {"Depth": depth, "Content-Type": 'application/xml; charset="utf-8"'}
        with self._request("PROPFIND", path, data=body, headers=headers) as response:
            if response.status_code == 404:
                return None
            if response.status_code != 207:
                raise self._refusal(response, "PROPFIND", path)
            document = bytearray()
            for chunk in self._chunks(response, path):
                document += chunk
                if len(document) > _LISTING_BYTES:
                    raise errors.failed(
                        f"the store's listing of {self._url}{path} is longer than {_LISTING_BYTES} bytes"
                    )
        return bytes(document)

    def make_collection(self, name: str) -> None:
        with self._request("MKCOL", check_name(name) + "/") as response:
            self._drain(response)
            # 405: something has that name already (RFC 4918 §9.3.1).
            if response.status_code == 409:
                raise errors.absent(name.rpartition("/")[0] or self._url)
            if response.status_code not in (201, 405):
                raise self._refusal(response, "MKCOL", name)

    def close(self) -> None:
        self._session.close()

    def _deadline(self, length: int) -> _Deadline:
        return _Deadline(self._clock, self._transfer + length / SLOWEST_BYTES_PER_SECOND)

    @contextmanager
    def _request(
        self, method: str, path: str, *, data: object = None, headers: dict[str, str] | None = None
    ) -> Iterator[requests.Response]:
        try:
            response = self._session.request(
                method,
                self._url + path,
                data=data,  # type: ignore[arg-type]  # an _Upload: requests wants its length and read()
                headers=headers,
                timeout=(CONNECT_SECONDS, self._idle),
                stream=True,
                allow_redirects=False,
            )
        except (requests.RequestException, OSError) as error:
            raise self._no_answer(error) from error
        with response:
            yield response

    def _chunks(self, response: requests.Response, name: str) -> Iterator[bytes]:
        expected = response.headers.get("Content-Length")
        deadline = self._deadline(int(expected or 0))
        received = 0
        try:
            # read1 returns what is there: iter_content would sit in one chunk while a server dribbles.
            while chunk := response.raw.read1(CHUNK_BYTES, decode_content=False):
                deadline.check()
                received += len(chunk)
                yield chunk
        except (HTTPError, OSError) as error:
            raise errors.failed(f"the store broke off while sending {name}: {error}") from error
        if expected is not None and received != int(expected):
            raise errors.failed(f"the store sent {received} of the {expected} bytes of {name}")

    def _drain(self, response: requests.Response) -> None:
        """Read the short body, so that the connection can be used again."""
        with suppress(HTTPError, OSError):
            response.raw.read(_DRAIN_BYTES, decode_content=False)

    def _refusal(self, response: requests.Response, method: str, name: str) -> KeyfoldError:
        status = response.status_code
        if status == 404:
            return errors.absent(name)
        if status == 412:
            return errors.taken(name)
        if status in (401, 403):
            return errors.not_allowed(
                f"the store does not let this identity do {method} {self._url}{name} (HTTP {status})"
            )
        if status in (413, 507):
            return errors.full(name)
        if status == 409:
            return errors.absent(name.rpartition("/")[0] or self._url)
        return errors.failed(f"the store answered {method} {self._url}{name} with HTTP {status}")

    def _no_answer(self, error: Exception) -> KeyfoldError:
        host = urlsplit(self._url).netloc
        reason = tls.reason_of(error) or self._refused_certificate(error)
        if reason:
            return errors.not_allowed(f"TLS with the store {host} failed: {reason}")
        if isinstance(error, OSError) and not isinstance(error, requests.RequestException):
            return errors.not_allowed(f"a certificate file for the store cannot be read: {error}")
        if isinstance(error, requests.Timeout):
            return errors.failed(f"the store {host} did not answer in time: {error}")
        return errors.failed(f"the store {host} cannot be reached, or broke off: {error}")

    def _refused_certificate(self, error: Exception) -> str:
        if not isinstance(error, requests.ConnectionError) or isinstance(error, requests.Timeout):
            return ""
        address = urlsplit(self._url)
        return tls.ask(address.hostname or "", address.port or 443, self._identity)


class WebDavExpirer(WebDavRemote, ExpirableRemote):
    """The same with the certificate of the expirer, the only one that a store lets delete."""

    def remove(self, name: str) -> None:
        # nginx answers 409 to a collection's name that does not end in a slash.
        for path in (check_name(name), f"{name}/"):
            with self._request("DELETE", path) as response:
                self._drain(response)
                # 207: some member could not be removed (RFC 4918 §9.6.1).
                if response.status_code in (200, 204, 404):
                    return
                if response.status_code != 409:
                    raise self._refusal(response, "DELETE", name)
        raise errors.failed(f"the store does not remove {self._url}{name} (HTTP 409)")


class _Deadline:
    def __init__(self, clock: Clock, seconds: float) -> None:
        self._clock = clock
        self._seconds = seconds
        self._end = clock.monotonic() + seconds

    def check(self) -> None:
        if self._clock.monotonic() > self._end:
            raise errors.failed(f"the transfer was broken off: it took longer than {self._seconds:.0f} s")


class _Upload:
    """A body of known length that is read only so far, and only until the deadline."""

    def __init__(self, body: BinaryIO, length: int, deadline: _Deadline) -> None:
        self._body = body
        self._length = length
        self._left = length
        self._deadline = deadline

    def __len__(self) -> int:
        return self._length

    def __iter__(self) -> Iterator[bytes]:
        while chunk := self.read(CHUNK_BYTES):
            yield chunk

    def read(self, size: int = -1) -> bytes:
        self._deadline.check()
        # The transport asks for 16 KiB at a time; larger pieces cost less per byte and it takes what it gets.
        chunk = self._body.read(min(self._left, max(size, CHUNK_BYTES)))
        self._left -= len(chunk)
        return chunk
