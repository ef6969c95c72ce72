"""Make AES-256 keys through the module: fill.py MODULE TOKEN COUNT, the PIN on standard input."""

import sys

from benchmarks.programs.subscriber import Token


def main() -> None:
    module, token, count = sys.argv[1:]
    subscriber = Token(module, token)
    for number in range(int(count)):
        subscriber.create_secret(f"secret-{number}")


main()
