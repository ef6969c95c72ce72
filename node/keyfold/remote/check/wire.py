"""Plain HTTP/1.1 over TLS for probes that a well-behaved client never sends: aborted, chunked, racing requests."""

from __future__ import annotations

import http.client
import ssl
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from threading import Barrier, BrokenBarrierError
from urllib.parse import urlsplit

from keyfold.remote import errors
from keyfold.remote.tls import Identity

TIMEOUT_SECONDS = 20.0
_ANSWER_BYTES = 16 << 20


@dataclass(frozen=True, slots=True)
class Answer:
    """`status` is 0 where the server hung up without one; header names in lower case."""

    status: int
    headers: Mapping[str, str]
    body: bytes

    @property
    def good(self) -> bool:
        return 200 <= self.status < 300


@dataclass(frozen=True, slots=True)
class Question:
    method: str
    name: str
    body: bytes | None = None
    headers: Mapping[str, str] | None = None


HUNG_UP = Answer(0, {}, b"")


class Wire:
    """One connection per request. `url` is the store's root and ends in `/`; names are relative to it."""

    def __init__(self, url: str, identity: Identity) -> None:
        self.url, address = url, urlsplit(url)
        self._host, self._port, self.root = address.hostname or "", address.port or 443, address.path
        self._identity = identity

    def connect(self, *, anonymous: bool = False) -> http.client.HTTPSConnection:
        """A connection, its handshake done. Raises OSError (ssl.SSLError among them)."""
        context = ssl.create_default_context(cafile=self._identity.ca)
        if not anonymous:
            context.load_cert_chain(self._identity.cert, self._identity.key)
        connection = http.client.HTTPSConnection(self._host, self._port, timeout=TIMEOUT_SECONDS, context=context)
        connection.connect()
        return connection

    def tls_version(self) -> str:
        """As OpenSSL names it. KeyfoldError if the server cannot be reached, or not be believed."""
        try:
            connection = self.connect()
            try:
                return str(connection.sock.version())
            finally:
                connection.close()
        except ssl.SSLError as error:
            raise errors.not_allowed(f"TLS with the store {self._host} failed: {error}") from error
        except OSError as error:
            raise errors.failed(f"the store {self._host}:{self._port} cannot be reached: {error}") from error

    def ask(self, question: Question, *, anonymous: bool = False) -> Answer:
        try:
            connection = self.connect(anonymous=anonymous)
        except OSError:
            return HUNG_UP
        return self._asked(connection, question)

    def _asked(self, connection: http.client.HTTPSConnection, question: Question) -> Answer:
        try:
            headers = dict(question.headers or {})
            connection.request(question.method, self.root + question.name, question.body, headers)
            response = connection.getresponse()
            kept = {name.lower(): value for name, value in response.getheaders()}
            return Answer(response.status, kept, response.read(_ANSWER_BYTES))
        except (OSError, http.client.HTTPException):
            return HUNG_UP
        finally:
            connection.close()

    def put_chunked(self, name: str, chunks: Iterable[bytes], headers: Mapping[str, str]) -> Answer:
        """A PUT that does not say how long it is (RFC 9112 §7.1)."""
        connection = self.connect()
        try:
            sent = {**headers, "Transfer-Encoding": "chunked"}
            connection.request("PUT", self.root + name, iter(chunks), sent, encode_chunked=True)
            response = connection.getresponse()
            return Answer(response.status, {}, response.read(_ANSWER_BYTES))
        except (OSError, http.client.HTTPException):
            return HUNG_UP
        finally:
            connection.close()

    def put_aborted(self, name: str, announced: int, sent: bytes, headers: Mapping[str, str]) -> None:
        """A PUT that announces `announced` bytes, sends fewer, and hangs up."""
        connection = self.connect()
        with suppress(OSError):
            connection.putrequest("PUT", self.root + name)
            for header, value in {**headers, "Content-Length": str(announced)}.items():
                connection.putheader(header, value)
            connection.endheaders(sent)
        connection.close()

    def race(self, questions: Sequence[Question]) -> list[int]:
        """The statuses of requests that all start at one moment, each on a connection made before."""
        together = Barrier(len(questions), timeout=TIMEOUT_SECONDS)

        def run(question: Question) -> int:
            try:
                connection = self.connect()
            except OSError:
                together.abort()
                return 0
            with suppress(BrokenBarrierError):
                together.wait()
            return self._asked(connection, question).status

        with ThreadPoolExecutor(max_workers=len(questions)) as pool:
            return list(pool.map(run, questions))
