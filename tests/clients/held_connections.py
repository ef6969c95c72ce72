"""Hold TLS connections to a partition open, and tell when the other side ends them.

Standard input, one JSON object on the first line: {"host", "port", "authority": PEM, "certificate": PEM, "key": PEM,
"server_name", "count", "first": hex of the bytes to send on each}. Standard output, one JSON object a line: first
{"open": N}, connections on which the service answered; then {"ended": SECONDS} for each one that ends, since all were
opened. Ends when none is left, or when standard input does.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import sys
import tempfile
import time

SECONDS = 60.0


def connect(order: dict[str, str]) -> ssl.SSLSocket | None:
    """An answering connection, or None if it is refused."""
    context = ssl.create_default_context(cadata=order["authority"])
    context.check_hostname = False
    with tempfile.NamedTemporaryFile("w") as pair:
        pair.write(order["certificate"] + order["key"])
        pair.flush()
        context.load_cert_chain(pair.name)
    try:
        plain = socket.create_connection((order["host"], int(order["port"])), timeout=SECONDS)
        connection = context.wrap_socket(plain, server_hostname=order["server_name"])
        connection.sendall(bytes.fromhex(order["first"]))
        return connection if connection.recv(1) else None
    except (ssl.SSLError, OSError):
        return None


def main() -> None:
    order = json.loads(sys.stdin.readline())
    opened = [connection for _ in range(order["count"]) if (connection := connect(order)) is not None]
    print(json.dumps({"open": len(opened)}), flush=True)
    begun = time.monotonic()
    while opened:
        readable, _, _ = select.select([sys.stdin, *opened], [], [])
        if sys.stdin in readable and not sys.stdin.readline():
            return
        for connection in [known for known in opened if known in readable]:
            try:
                over = not connection.recv(4096)
            except OSError:
                over = True
            if over:
                opened.remove(connection)
                print(json.dumps({"ended": time.monotonic() - begun}), flush=True)


main()
