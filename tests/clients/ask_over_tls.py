"""Say standard input to node hsm1 with a partition's certificate, and print what comes back until the other side ends.

usage: ask_over_tls.py PARTITION SERVER-NAME. As many lines as were said are enough; an error on the way is an end.
"""

from __future__ import annotations

import socket
import ssl
import sys
from contextlib import suppress

SECONDS = 60.0
DIRECTORY = "/etc/keyfold-client"


def main() -> None:
    partition, name = sys.argv[1:]
    asked, said = sys.stdin.buffer.read(), b""
    context = ssl.create_default_context(cafile=f"{DIRECTORY}/ca.crt")
    context.check_hostname = False
    context.load_cert_chain(f"{DIRECTORY}/{partition}.crt", f"{DIRECTORY}/{partition}.key")
    with (
        suppress(OSError),
        socket.create_connection(("hsm1", 9443), SECONDS) as plain,
        context.wrap_socket(plain, server_hostname=name) as connection,
    ):
        connection.sendall(asked)
        while said.count(b"\n") < asked.count(b"\n") and (more := connection.recv(65536)):
            said += more
    print(said.decode(errors="replace"))


main()
