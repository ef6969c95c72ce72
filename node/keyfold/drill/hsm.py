"""What a drill asks of SoftHSM. The real one runs `keyfold.drill.worker`; tests have a twin in memory."""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfold.custody.process import run_module

_WORKER = "keyfold.drill.worker"


@dataclass(frozen=True, slots=True)
class Seen:
    """What SoftHSM shows of a token without its PIN. `objects`: how many, the private ones left out."""

    user_pin_set: bool
    objects: int


class Hsm(ABC):
    """`home`: a directory with `softhsm2.conf` and `tokens/`; `label`: the token's.

    KeyfoldError `not_found`: no such token or key; `denied`: wrong PIN; `internal`: SoftHSM failed.
    """

    @abstractmethod
    def look(self, home: Path, label: str) -> Seen: ...

    @abstractmethod
    def sign(self, home: Path, label: str, pin: str, digest: bytes) -> bytes:
        """64 bytes r | s: ECDSA over P-256 of a SHA-256 digest, with the canary's key in that token."""

    @abstractmethod
    def make_key(self, home: Path, label: str, pin: str) -> bytes:
        """The canary's public key (65 bytes), made if there is none; through Keyfold's module, so it is committed."""


class SoftHsm(Hsm):
    """Each call is a process of its own: a damaged token cannot take more than that with it."""

    def look(self, home: Path, label: str) -> Seen:
        return Seen(**_run(op="look", conf=str(home / "softhsm2.conf"), label=label))

    def sign(self, home: Path, label: str, pin: str, digest: bytes) -> bytes:
        request = {"op": "sign", "conf": str(home / "softhsm2.conf"), "label": label, "pin": pin}
        return bytes.fromhex(_run(**request, digest=digest.hex())["signature"])

    def make_key(self, home: Path, label: str, pin: str) -> bytes:
        reply = _run(op="make_key", conf=str(home / "softhsm2.conf"), label=label, pin=pin)
        return bytes.fromhex(reply["public_key"])


def _run(**request: str) -> dict[str, Any]:
    reply: dict[str, Any] = run_module(_WORKER, request)
    return {key: value for key, value in reply.items() if key != "ok"}
