"""What a drill leaves: two lines of canonical JSON, signed by the cluster (docs/formats.md).

    line 1   the evidence
    line 2   {"ed25519": base64 of the signature over DOMAIN + line 1, "key": fingerprint of the signing key}

Pure. What is wrong with evidence is KeyfoldError `refused`.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256

from keyfold.backup import statement
from keyfold.backup.manifest import Cluster
from keyfold.errors import KeyfoldError

FORMAT = 1
DOMAIN = b"keyfold drill evidence v1\0"
_CHALLENGE_DOMAIN = b"keyfold drill canary v1\0"


@dataclass(frozen=True, slots=True)
class Restored:
    """One archive of the set: a partition's, or the cluster's own (`_cluster`).

    `objects`: object files in the scratch token, or entries; `problem`: "" if all is as it was.
    """

    name: str
    objects: int
    problem: str


@dataclass(frozen=True, slots=True)
class CanaryProof:
    """Hex: public point (65 bytes), random challenge (32), ECDSA r | s (64) over `digest(drill_id, challenge)`."""

    public_key: str
    challenge: str
    signature: str


@dataclass(frozen=True, slots=True)
class Evidence:
    """`set_id` "" and `sequence` 0: no set was found. `canary`: None where it could not sign.

    `problem`: the first that is not a partition's, or "". `seconds`: by the monotonic clock, rounded up.
    """

    format: int
    cluster_uuid: str
    signing_key_fingerprint: str
    drill_id: str
    node: str
    started: str
    seconds: int
    set_id: str
    sequence: int
    manifest_sha256: str
    set_created: str
    partitions: tuple[Restored, ...]
    canary: CanaryProof | None
    problem: str

    @property
    def passed(self) -> bool:
        return not self.problem and self.canary is not None and not any(one.problem for one in self.partitions)


def digest(drill_id: str, challenge: bytes) -> bytes:
    """What the canary signs: this drill's, and no other's."""
    return hashlib.sha256(_CHALLENGE_DOMAIN + drill_id.encode() + b"\0" + challenge).digest()


def canary_signed(proof: CanaryProof, drill_id: str) -> bool:
    """Whether the signature is that of the public key, for this drill."""
    try:
        key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), bytes.fromhex(proof.public_key))
        raw = bytes.fromhex(proof.signature)
        pair = encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))
        signed_digest = digest(drill_id, bytes.fromhex(proof.challenge))
        key.verify(pair, signed_digest, ec.ECDSA(Prehashed(SHA256())))
    except (ValueError, InvalidSignature):
        return False
    return len(raw) == 64


def signed(evidence: Evidence, sign: Callable[[bytes], bytes]) -> bytes:
    """The document to keep; `sign` makes the cluster's Ed25519 signature."""
    return statement.signed(asdict(evidence), DOMAIN, sign)


def verify(document: bytes, cluster: Cluster, canary_keys: Mapping[str, str]) -> Evidence:
    """The evidence, if this cluster signed these very bytes, and its canary really signed.

    `canary_keys`: drill-independent public keys the cluster has recorded (hex, by partition UUID). KeyfoldError
    `refused`: altered, cut short, another cluster's, or of a format this Keyfold does not know.
    """
    try:
        raw = statement.opened(document, DOMAIN, cluster, FORMAT)
        evidence = _parse(raw)
    except (ValueError, TypeError, KeyError) as error:
        raise _refused(str(error)) from error
    if asdict(evidence) != raw | {"partitions": tuple(raw["partitions"])}:
        raise _refused("it is not in canonical form")
    proof = evidence.canary
    if proof is not None and (
        proof.public_key not in canary_keys.values() or not canary_signed(proof, evidence.drill_id)
    ):
        raise _refused("the canary's signature in it is not that of this cluster's canary")
    return evidence


_NUMBERS = ("format", "seconds", "sequence", "objects")


def _parse(raw: Mapping[str, Any]) -> Evidence:
    parts = tuple(Restored(**_typed(Restored, one)) for one in raw["partitions"])
    proof = None if raw["canary"] is None else CanaryProof(**_typed(CanaryProof, raw["canary"]))
    simple = _typed(Evidence, {key: value for key, value in raw.items() if key not in ("partitions", "canary")})
    return Evidence(**simple, partitions=parts, canary=proof)


def _typed(kind: type, raw: Mapping[str, Any]) -> dict[str, Any]:
    known = {field.name for field in fields(kind)}
    for name, value in raw.items():
        if name not in known or type(value) is not (int if name in _NUMBERS else str):
            raise ValueError(f"the field {name!r} is not as it should be")
    return dict(raw)


def _refused(reason: str) -> KeyfoldError:
    return KeyfoldError(
        "refused",
        f"the evidence of a drill is refused: {reason}",
        not_done="it proves nothing",
        next_step="keyfold drill list; compare with the file in /var/lib/keyfold/drills, or run: keyfold drill run",
    )
