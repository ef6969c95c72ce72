"""Officers and signed requests, with signatures that MemoryVerifier believes."""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

import yaml

from keyfold.approval import memory
from keyfold.approval.officers import Officers
from keyfold.replication import keys
from keyfold.store.interface import Put, Store

CLUSTER = "11111111-2222-4333-8444-555555555555"
NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)


def public_key(number: int) -> str:
    """A well-formed ssh-ed25519 key that nobody has the private half of."""
    fields = (b"ssh-ed25519", bytes([number]) * 32)
    blob = b"".join(struct.pack(">I", len(field)) + field for field in fields)
    return f"ssh-ed25519 {base64.b64encode(blob).decode()}"


OFFICERS = Officers({"ada": public_key(1), "grace": public_key(2), "linus": public_key(3)}, 2)


def declare(store: Store, officers: Officers = OFFICERS) -> None:
    store.txn(
        (),
        [Put(keys.CLUSTER, json.dumps({"uuid": CLUSTER}).encode()), Put(keys.OFFICERS, officers.encode())],
    )


def request(kind: str, partition: str | None = None, **own: Any) -> bytes:
    """A request file; common fields may be overridden among `own`."""
    fields: dict[str, Any] = {
        "kind": kind,
        "cluster": CLUSTER,
        "partition": partition,
        "ticket": "T-1",
        "reason": "a mistake",
        "requested_by": "operator",
        "expires": "2026-03-02T12:00:00Z",
        **own,
    }
    return yaml.safe_dump(fields).encode()


def approval(raw: bytes, *signers: str, officers: Mapping[str, str] = OFFICERS.keys) -> dict[str, Any]:
    """The socket form, signed by these officers."""
    return {
        "request": base64.b64encode(raw).decode(),
        "signatures": [memory.sign(officers[name], raw) for name in signers],
    }
