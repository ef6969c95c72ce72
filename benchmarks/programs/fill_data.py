"""Make the one data object that multiply.py makes many of: fill_data.py MODULE TOKEN, the PIN on standard input."""

import sys

from benchmarks.programs.subscriber import Token


def main() -> None:
    Token(*sys.argv[1:]).create_data("bench-data", bytes(64))


main()
