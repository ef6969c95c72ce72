"""The audit key at work in a process of its own: `python3 -m keyfold.custody.audit_worker`.

First line in: `{"conf", "label", "pin", "epoch"}`; every later line: a list of messages (hex). One line out for each:
`{"ok":true,"signatures":[hex]}`, or an error as `KeyfoldError.as_reply` writes it. Ends with its standard input.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import Any

from keyfold.custody.token_keys import TokenSystemKeys
from keyfold.errors import KeyfoldError


def main() -> None:
    token: dict[str, Any] = json.loads(sys.stdin.readline())
    try:
        with TokenSystemKeys(Path(token["conf"]), token["label"], token["pin"], epoch=token["epoch"]) as keys:
            token.clear()
            _reply({"ok": True, "signatures": []})
            for line in sys.stdin:
                signatures = [keys.sign_audit(bytes.fromhex(text)).hex() for text in json.loads(line)]
                _reply({"ok": True, "signatures": signatures})
    except KeyfoldError as error:
        _reply(error.as_reply())


def _reply(reply: dict[str, Any]) -> None:
    print(json.dumps(reply), flush=True)


if __name__ == "__main__":
    main()
