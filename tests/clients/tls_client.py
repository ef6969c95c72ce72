"""Speak to a TLS server as whoever standard input says, and print what came of it, as JSON.

Standard input: {"host", "port", "authority": PEM, "certificate": PEM or null, "key": PEM or null,
"version": "TLSv1_3" or "TLSv1_2", "requests": [[method, path, headers, body], …] or null}. With requests it prints the
status of each; without, whether a PKCS#11 service answers behind the connection. A connection that is refused prints
{"refused": reason}.
"""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import sys
import tempfile
from typing import Any

SECONDS = 10.0
# The first byte of p11-kit's protocol, in both directions, is its version.
P11_KIT_VERSION = b"\0"


def context_of(order: dict[str, Any]) -> ssl.SSLContext:
    context = ssl.create_default_context(cadata=order["authority"])
    context.minimum_version = context.maximum_version = ssl.TLSVersion[order["version"]]
    if order["certificate"]:
        with tempfile.NamedTemporaryFile("w") as pair:
            pair.write(order["certificate"] + order["key"])
            pair.flush()
            context.load_cert_chain(pair.name)
    return context


def statuses(order: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    answers = []
    connection = http.client.HTTPSConnection(order["host"], order["port"], timeout=SECONDS, context=context)
    for method, path, headers, body in order["requests"]:
        connection.request(method, path, body=body, headers=headers)
        answer = connection.getresponse()
        answer.read()
        answers.append(answer.status)
    return {"statuses": answers}


def service(order: dict[str, Any], context: ssl.SSLContext) -> dict[str, Any]:
    plain = socket.create_connection((order["host"], order["port"]), timeout=SECONDS)
    with context.wrap_socket(plain, server_hostname=order["host"]) as connection:
        connection.sendall(P11_KIT_VERSION)
        return {"answers": connection.recv(1) != b""}


def main() -> None:
    order = json.load(sys.stdin)
    try:
        context = context_of(order)
        print(json.dumps(statuses(order, context) if order["requests"] else service(order, context)))
    except (ssl.SSLError, ConnectionError, http.client.RemoteDisconnected) as error:
        print(json.dumps({"refused": str(error)}))


main()
