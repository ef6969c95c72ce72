"""Export: wrapped on the node, to a key of this very process; sealed here, to the subscriber's own."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding, rsa

from keyfold.errors import KeyfoldError
from keyfold.subscriber.client.bundle import Bundle
from keyfold.subscriber.client.connection import Node
from keyfold.subscriber.client.seal import seal

OAEP = padding.OAEP(padding.MGF1(hashes.SHA1()), hashes.SHA1(), None)  # noqa: S303 - the only OAEP that SoftHSM 2.6.1 has
_RSA_BITS = 3072


def export(
    node: Node,
    pin: str,
    selection: Mapping[str, list[str]],
    *,
    skip_refused: bool,
    recipients: list[str],
    target: Path,
    now: datetime,
) -> dict[str, Any]:
    """Write `target`; returns what is in it and what was left out. Nothing is written if anything fails."""
    if target.exists():
        raise KeyfoldError(
            "conflict", f"{target} exists already", not_done="nothing was exported", next_step="name another file"
        )
    partition = node.ask("policy")["partition"]
    key = rsa.generate_private_key(public_exponent=65537, key_size=_RSA_BITS)
    numbers = key.public_key().public_numbers()
    replies = node.stream(
        "export",
        pin=pin,
        selection=selection,
        skip_refused=skip_refused,
        modulus=_encoded(numbers.n),
        exponent=_encoded(numbers.e),
    )
    head, wrapping = next(replies), next(replies)
    objects = [reply["object"] for reply in replies]
    if len(objects) != head["count"]:
        raise KeyfoldError(
            "internal",
            f"the node announced {head['count']} objects and sent {len(objects)}",
            not_done="nothing was written",
            next_step="run the command again",
        )
    kek = None if wrapping["kek"] is None else key.decrypt(base64.b64decode(wrapping["kek"]), OAEP)
    seal(Bundle(partition, f"{now:%Y-%m-%dT%H:%M:%SZ}", objects, kek).encode(), recipients, target)
    return {
        "changed": True,
        "partition": partition,
        "file": str(target),
        "exported": [described(row) for row in objects],
        "refused": head["refused"],
    }


def described(row: Mapping[str, Any]) -> dict[str, Any]:
    """Class, label and ID (hex) of an object of a bundle."""
    label, identifier = (base64.b64decode(row["attributes"].get(name, "")) for name in ("CKA_LABEL", "CKA_ID"))
    return {"class": row["class"], "label": label.decode("utf-8", "replace"), "id": identifier.hex()}


def _encoded(number: int) -> str:
    return base64.b64encode(number.to_bytes((number.bit_length() + 7) // 8, "big")).decode()
