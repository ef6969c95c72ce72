"""Sign many audit entries without loading SoftHSM here: one helper process, kept while there is work for it.

Opening the token costs a third of a second of computing; linking under load would do that several times a second.
"""

from __future__ import annotations

import json
import select
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import keyfold
from keyfold.custody.create import SYSTEM_LABEL
from keyfold.errors import KeyfoldError

_TIMEOUT_SECONDS = 60.0


class AuditSigner:
    """Belongs to one thread. `close` ends the helper; the next `sign` starts another."""

    def __init__(self, partition_dir: Path) -> None:
        self._conf = partition_dir / "softhsm2.conf"
        self._process: subprocess.Popen[str] | None = None
        self._epoch = 0

    def sign(self, messages: Sequence[bytes], epoch: int, pin: str) -> list[bytes]:
        """64 bytes each: Ed25519 (RFC 8032). KeyfoldError: denied (wrong PIN), not_found (no token or key)."""
        try:
            if self._process is None or self._process.poll() is not None or self._epoch != epoch:
                self._process = self._start(epoch, pin)
            return [bytes.fromhex(text) for text in _ask(self._process, [message.hex() for message in messages])]
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            process.communicate()

    def _start(self, epoch: int, pin: str) -> subprocess.Popen[str]:
        self.close()
        process = self._process = subprocess.Popen(
            [sys.executable, "-m", "keyfold.custody.audit_worker"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={"PYTHONPATH": str(Path(keyfold.__file__).parents[1]), "LANG": "C.UTF-8"},
        )
        self._epoch = epoch
        _ask(process, {"conf": str(self._conf), "label": SYSTEM_LABEL, "pin": pin, "epoch": epoch})
        return process


def _ask(process: subprocess.Popen[str], request: Any) -> list[str]:
    try:
        reply = json.loads(_exchange(process, json.dumps(request) + "\n"))
    except (OSError, ValueError):
        # Without "from error": it may quote the PIN.
        raise KeyfoldError(
            "internal",
            "the helper that signs the audit chain ended or hangs",
            not_done="pending audit notes are not linked yet; they are kept",
            next_step="journalctl -u keyfold-agent; it is tried again",
        ) from None
    if not reply["ok"]:
        raise KeyfoldError.from_reply(reply)
    signatures: list[str] = reply["signatures"]
    return signatures


def _exchange(process: subprocess.Popen[str], line: str) -> str:
    if process.stdin is None or process.stdout is None:
        raise OSError("no pipes")
    process.stdin.write(line)
    process.stdin.flush()
    readable, _, _ = select.select([process.stdout], [], [], _TIMEOUT_SECONDS)
    if not readable:
        raise OSError("no answer")
    return process.stdout.readline()
