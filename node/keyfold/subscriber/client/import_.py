"""Import: what a bundle holds becomes objects of the partition again, each key proven to be the one that left."""

from __future__ import annotations

import base64
import hashlib
import hmac
import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa

from keyfold.errors import KeyfoldError
from keyfold.subscriber.attributes import from_json
from keyfold.subscriber.client.bundle import Bundle
from keyfold.subscriber.client.connection import Node
from keyfold.subscriber.client.export import OAEP, described
from keyfold.subscriber.client.proof import answered, public_key, signed

_SECRET_KINDS = ("private", "secret")


def import_(node: Node, pin: str, bundle: Bundle, *, skip_existing: bool, check: bool = False) -> dict[str, Any]:
    """All or nothing. `check`: only see what would be imported.

    KeyfoldError `conflict` if objects of the same class, label and ID are there; `refused` for a key that is another.
    """
    names = [
        {
            "class": row["class"],
            "label": row["attributes"].get("CKA_LABEL", ""),
            "id": row["attributes"].get("CKA_ID", ""),
        }
        for row in bundle.objects
    ]
    wanted = any(row["class"] in _SECRET_KINDS for row in bundle.objects) and not check
    begun = node.ask("import_begin", pin=pin, objects=names, keys=wanted, check=check)
    existing = set(begun["existing"])
    if existing and not skip_existing:
        there = ", ".join(_name(bundle.objects[number]) for number in sorted(existing))
        raise KeyfoldError(
            "conflict",
            f"in the partition already: {there}",
            not_done="nothing was imported",
            next_step="import the others with --skip-existing",
        )
    rows = [row for number, row in enumerate(bundle.objects) if number not in existing]
    results: list[dict[str, Any]] = []
    if not check:
        try:
            if wanted and bundle.kek is not None:
                _send_kek(node, begun, bundle.kek)
            results = [_add(node, row, bundle.kek) for row in rows]
        except BaseException:
            # Whatever came in goes again; if the connection is gone, what is there shows as existing next time.
            with suppress(KeyfoldError):
                node.ask("import_discard")
            raise
    return {
        "changed": bool(results),
        "imported": results if not check else [described(row) for row in rows],
        "existing": [described(bundle.objects[number]) for number in sorted(existing)],
    }


def _send_kek(node: Node, begun: Mapping[str, Any], kek: bytes) -> None:
    modulus, exponent = (int.from_bytes(base64.b64decode(begun[part]), "big") for part in ("modulus", "exponent"))
    recipient = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    node.ask("import_key", kek=base64.b64encode(recipient.encrypt(kek, OAEP)).decode())


def _add(node: Node, row: Mapping[str, Any], kek: bytes | None) -> dict[str, Any]:
    challenge = secrets.token_bytes(32)
    digest = base64.b64encode(hashlib.sha256(challenge).digest()).decode()
    sent = {key: row[key] for key in ("class", "attributes", "wrapped") if key in row}
    reply = node.ask("import_object", object=sent, digest=digest)
    verified = _verified(row, reply, challenge, kek)
    if verified == "no":
        raise KeyfoldError(
            "refused",
            f"{_name(row)} is not the key that was exported",
            not_done="nothing was imported: what came in was destroyed again",
            next_step="use another export; the file or the node is not to be trusted",
        )
    return {**described(row), "verified": verified == "yes"}


def _verified(row: Mapping[str, Any], reply: Mapping[str, Any], challenge: bytes, kek: bytes | None) -> str:
    """`yes`, `no`, or `unknown`: a key that may not be used, or without its public half, cannot prove itself."""
    kind, key_type = row["class"], row["attributes"].get("CKA_KEY_TYPE")
    if kind not in _SECRET_KINDS:
        return "yes"
    answer = None if reply["answer"] is None else base64.b64decode(reply["answer"])
    if kind == "secret":
        expected = answered(key_type, kek or b"", base64.b64decode(row["wrapped"]), hashlib.sha256(challenge).digest())
        if expected is None or answer is None:
            return "unknown"
        return "yes" if hmac.compare_digest(expected, answer) else "no"
    recorded, seen = from_json(kind, row["proof"]), from_json(kind, reply["seen"])
    compared = [name for name in seen if recorded.get(name) and seen[name]]
    if any(seen[name] != recorded[name] for name in compared):
        return "no"
    key = public_key(key_type, recorded)
    if key is None or answer is None:
        return "yes" if compared else "unknown"
    return "yes" if signed(key, answer, challenge) else "no"


def _name(row: Mapping[str, Any]) -> str:
    what = described(row)
    return f"{what['class']} {what['label'] or what['id']!r}"
