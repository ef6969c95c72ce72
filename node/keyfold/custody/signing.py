"""Sign with the cluster's manifest-signing key, without loading SoftHSM here.

SoftHSM 2.6.1 takes OpenSSL's engines down with it when it is unloaded: the process cannot speak TLS afterwards.
"""

from __future__ import annotations

from pathlib import Path

from keyfold.custody.create import SYSTEM_LABEL
from keyfold.custody.process import run_worker


def sign(partition_dir: Path, pin: str, message: bytes, epoch: int = 1) -> bytes:
    """64 bytes: Ed25519 (RFC 8032). KeyfoldError: denied (wrong PIN), not_found (no token or key)."""
    reply = run_worker(
        {
            "op": "sign",
            "conf": str(partition_dir / "softhsm2.conf"),
            "label": SYSTEM_LABEL,
            "pin": pin,
            "message": message.hex(),
            "epoch": epoch,
        }
    )
    return bytes.fromhex(reply["signature"])
