"""What TLS had against a connection that failed: certificates deserve an answer of their own."""

from __future__ import annotations

import socket
import ssl
from dataclasses import dataclass
from pathlib import Path

import requests

_PROBE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Identity:
    """PEM files: whom we trust, and who we are."""

    ca: Path
    cert: Path
    key: Path


def reason_of(error: BaseException) -> str:
    """What TLS said, wherever in the chain of causes it is; empty if it was not TLS."""
    chain: list[BaseException] = [error]
    for cause in chain:
        nested = (cause.__cause__, cause.__context__, getattr(cause, "reason", None), *cause.args)
        chain += [item for item in nested if isinstance(item, BaseException) and item not in chain]
    verdicts: list[BaseException] = [cause for cause in chain if isinstance(cause, ssl.SSLError)]
    verdicts = verdicts or [cause for cause in chain if isinstance(cause, requests.exceptions.SSLError)]
    return next((str(cause) for cause in verdicts if not _merely_ended(cause)), "")


def ask(host: str, port: int, identity: Identity) -> str:
    """Why the server refuses our certificate, or "" if it does not say that it does.

    In TLS 1.3 a client may write its request before the server has looked at the certificate; the server's alert then
    gets lost in the reset that answers the request. Whoever only listens hears it.
    """
    try:
        context = ssl.create_default_context(cafile=identity.ca)
        context.load_cert_chain(identity.cert, identity.key)
        with (
            socket.create_connection((host, port), timeout=_PROBE_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname=host) as tls,
        ):
            tls.recv(1)
    except ssl.SSLError as error:
        return "" if _merely_ended(error) else str(error)
    except OSError:
        return ""
    return ""


def _merely_ended(error: BaseException) -> bool:
    """A connection that merely ends is no verdict on a certificate."""
    return isinstance(error, ssl.SSLEOFError | ssl.SSLZeroReturnError)
