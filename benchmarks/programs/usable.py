"""When can a session that is already open use a key made elsewhere? usable.py MODULE TOKEN POLL_SECONDS.

One operation: `await LABEL`. In a token of thousands of objects looking takes most of a core, so poll seldom there.
Answers the monotonic time right after the first signature with the key. All containers of a machine share one clock.
"""

import sys
import time
from collections.abc import Mapping

from benchmarks.programs.subscriber import Token, serve

_PATIENCE_SECONDS = 30.0


def main() -> None:
    module, name, poll = sys.argv[1:]
    token = Token(module, name)

    def await_key(label: str) -> Mapping[str, float]:
        begun = time.monotonic()
        while (key := token.private_key(label)) is None:
            if time.monotonic() - begun > _PATIENCE_SECONDS:
                sys.exit(f"the key {label} did not come within {_PATIENCE_SECONDS:g} s")
            time.sleep(float(poll))
        token.sign(key)
        return {"usable": time.monotonic()}

    serve({"await": await_key})


main()
