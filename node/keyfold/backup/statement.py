"""A statement of the cluster: two lines of canonical JSON, signed (docs/formats.md). Pure.

line 1   the statement; it has `format`, `cluster_uuid` and `signing_key_fingerprint`
line 2   {"ed25519": base64 of the signature over its domain + line 1, "key": fingerprint of the signing key}
"""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from keyfold.json_bytes import canonical

if TYPE_CHECKING:
    from keyfold.backup.manifest import Cluster


def signed(statement: Mapping[str, Any], domain: bytes, sign: Callable[[bytes], bytes]) -> bytes:
    """The document to keep; `sign` makes the cluster's Ed25519 signature."""
    body = canonical(statement)
    return document(body, sign(domain + body), str(statement["signing_key_fingerprint"]))


def opened(made: bytes, domain: bytes, cluster: Cluster, known_format: int) -> dict[str, Any]:
    """The statement, if this cluster signed these very bytes; ValueError says why it is not believed."""
    lines = made.split(b"\n")
    if len(lines) != 3:
        raise ValueError("it is not two lines")
    try:
        raw, seal = json.loads(lines[0]), json.loads(lines[1])
        if raw["cluster_uuid"] != cluster.uuid:
            raise ValueError(f"it is of another cluster: {raw['cluster_uuid']}")
        signature, named = base64.b64decode(seal["ed25519"], validate=True), str(seal["key"])
        if document(canonical(raw), signature, named) != made or raw["signing_key_fingerprint"] != named:
            raise ValueError("it is not in canonical form")
        key = Ed25519PublicKey.from_public_bytes(cluster.key(named))
        key.verify(signature, domain + lines[0])
        if raw["format"] != known_format:
            raise ValueError(f"it has format {raw['format']}, this Keyfold reads {known_format}")
    except InvalidSignature as error:
        raise ValueError("its signature is not this cluster's, or it was altered") from error
    except (TypeError, KeyError, RecursionError) as error:
        raise ValueError(str(error)) from error
    found: dict[str, Any] = raw
    return found


def document(body: bytes, signature: bytes, key: str) -> bytes:
    """Both lines. `body`: the first; `key`: fingerprint of the one that signed."""
    return body + b"\n" + canonical({"ed25519": base64.b64encode(signature).decode(), "key": key}) + b"\n"
