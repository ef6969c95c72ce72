"""SoftHSM in a process of its own: requests to `keyfold.custody.worker`.

One JSON object over standard input, one over standard output; secrets travel in no other way.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypedDict

import keyfold
from keyfold.errors import KeyfoldError

_TIMEOUT_SECONDS = 60


class Request(TypedDict, total=False):
    """`op` and `conf` always; `label` and `pin` always but for init_many; `so_pin` for init.

    `root` (hex) and `cluster_uuid` for both imports; `message` (hex) for sign; `epoch` for all but init and init_many;
    `tokens`, each of label, so_pin and pin, for init_many. `destroy_backup` destroys that epoch's private key only.
    `medium` (ID) for both of media; `seal_to` (hex point) for add_medium, the copy `sealed` for import_medium.
    """

    op: Literal[
        "init",
        "init_many",
        "import",
        "import_backup",
        "destroy_backup",
        "data_key",
        "sign",
        "add_medium",
        "import_medium",
    ]
    conf: str
    label: str
    pin: str
    so_pin: str
    root: str
    cluster_uuid: str
    message: str
    epoch: int
    tokens: list[dict[str, str]]
    medium: str
    seal_to: str
    sealed: dict[str, str]


def run_worker(request: Request) -> Any:
    """The worker's reply (a JSON object, binary values in hex); its errors as KeyfoldError."""
    return run_module("keyfold.custody.worker", request)


def run_module(module: str, request: Mapping[str, Any]) -> Any:
    """The same with another worker."""
    package_root = str(Path(keyfold.__file__).parents[1])
    try:
        done = subprocess.run(
            [sys.executable, "-m", module],
            input=json.dumps(request),
            capture_output=True,
            text=True,
            env={"PYTHONPATH": package_root, "LANG": "C.UTF-8"},
            timeout=_TIMEOUT_SECONDS,
            check=True,
        )
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        # The error's own text could carry the worker's input or output.
        raise KeyfoldError(
            "internal",
            f"the SoftHSM worker ended with {type(error).__name__}",
            not_done=f"the operation {request['op']!r} on the token {request.get('label', '')!r}",
            next_step="check that python3-pykcs11 and softhsm2 are installed; see journalctl -t softhsm2",
        ) from None
    reply = json.loads(done.stdout)
    if not reply["ok"]:
        raise KeyfoldError.from_reply(reply)
    return reply
