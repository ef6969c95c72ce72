"""Many connections that guess at a partition's PIN, as the PKCS#11 module tells the agent. Needs nothing but Python.

usage: python3 login_guesses.py PARTITION CONNECTIONS GUESSES [ok]

Prints, as JSON, how many guesses the agent let through to SoftHSM; with `ok` they are correct PINs.
"""

from __future__ import annotations

import json
import socket
import sys
from concurrent.futures import ThreadPoolExecutor

AGENT = "/run/keyfold/agent.sock"


def guess(partition: str, count: int, *, ok: bool) -> int:
    let_through = 0
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        connection.connect(AGENT)
        lines = connection.makefile("rb")

        def ask(**request: object) -> bool:
            connection.sendall(json.dumps({"partition": partition, "user": "user", **request}).encode() + b"\n")
            return bool(json.loads(lines.readline())["ok"])

        for _ in range(count):
            if ask(op="login_begin"):
                let_through += 1
                ask(op="login_result", ok=ok)
    return let_through


def main() -> None:
    partition, connections, count, *kind = sys.argv[1:]
    with ThreadPoolExecutor(int(connections)) as pool:
        jobs = [pool.submit(guess, partition, int(count), ok=kind == ["ok"]) for _ in range(int(connections))]
        print(json.dumps(sum(job.result() for job in jobs)))


if __name__ == "__main__":
    main()
