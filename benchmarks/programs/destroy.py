"""Destroy keys of a partition: destroy.py MODULE TOKEN; operation `destroy LABEL`, both halves of a pair."""

import sys
from collections.abc import Mapping

from benchmarks.programs.subscriber import Token, serve


def main() -> None:
    token = Token(*sys.argv[1:])

    def destroy(label: str) -> Mapping[str, int]:
        found = token.labelled(label)
        token.destroy(*found)
        return {"destroyed": len(found)}

    serve({"destroy": destroy})


main()
