"""Generate P-256 key pairs: generate.py MODULE TOKEN; operations `generate LABEL` and `drop`.

`generate` answers the seconds of C_GenerateKeyPair and the monotonic time at which it returned; `drop` destroys the
pair, so that the token stays as small as it was.
"""

import sys
import time
from collections.abc import Mapping
from typing import Any

from benchmarks.programs.subscriber import Token, serve


class Generator:
    def __init__(self, token: Token) -> None:
        self._token = token
        self._pair: tuple[Any, ...] = ()

    def generate(self, label: str) -> Mapping[str, float]:
        begun = time.monotonic()
        self._pair = self._token.generate_pair(label)
        done = time.monotonic()
        return {"seconds": done - begun, "done": done}

    def drop(self) -> Mapping[str, float]:
        self._token.destroy(*self._pair)
        self._pair = ()
        return {}


def main() -> None:
    generator = Generator(Token(*sys.argv[1:]))
    serve({"generate": generator.generate, "drop": generator.drop})


main()
