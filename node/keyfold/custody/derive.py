"""The cluster's keys out of its root: HKDF-SHA256 (RFC 5869), salted with the cluster's UUID.

    okm(purpose, L)  = HKDF(ikm=root, salt=16 bytes of the UUID, info="keyfold/v1/<purpose>/<epoch>", L)
    backup scalar    = okm("backup", 48) as a big-endian number, mod (n - 1), + 1
    data PRK         = okm("data", 32)
    manifest seed    = okm("manifest", 32)
    audit seed       = okm("audit", 32)
    data key         = HMAC-SHA256(data PRK, "keyfold/v1/data-key/<epoch>" | 0x01)
    root fingerprint = HKDF(ikm=root, salt=16 bytes of the UUID, info="keyfold/v1/root-fingerprint", 32), public

The same root, cluster and epoch give the same keys for ever: a lost cluster is rebuilt from its root. A new epoch
gives new keys under the same root. Golden vectors in the tests hold these formulas.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from uuid import UUID

from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

ROOT_BYTES = 32
# SP 800-186, 3.2.1.3: the order of P-256's base point.
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SCALAR_BYTES = 32
_SCALAR_SEED_BYTES = 48


@dataclass(frozen=True)
class DerivedKeys:
    """One epoch's secrets. Their repr shows nothing."""

    backup_scalar: int = field(repr=False)
    """Private key of the backup key pair: 1 ≤ d < order of P-256."""
    data_prk: bytes = field(repr=False)
    """32 bytes: the HKDF pseudorandom key that the data key expands from."""
    manifest_seed: bytes = field(repr=False)
    """32 bytes: Ed25519 private key (RFC 8032)."""
    audit_seed: bytes = field(repr=False)
    """32 bytes: Ed25519 private key of the audit chain."""


def derive(root: bytes, cluster_uuid: str, epoch: int = 1) -> DerivedKeys:
    """All keys of one epoch (1, 2, …) from the 32-byte root; ValueError if an argument has another shape."""
    if len(root) != ROOT_BYTES:
        raise ValueError(f"the root has {ROOT_BYTES} bytes, not {len(root)}")
    if epoch < 1:
        raise ValueError("epochs start at 1")
    salt = UUID(cluster_uuid).bytes

    def expand(purpose: str, length: int) -> bytes:
        info = f"keyfold/v1/{purpose}/{epoch}".encode()
        return HKDF(algorithm=SHA256(), length=length, salt=salt, info=info).derive(root)

    # FIPS 186-5, A.2.1: with 128 extra random bits the reduction's bias is below 2**-128.
    scalar = int.from_bytes(expand("backup", _SCALAR_SEED_BYTES), "big") % (P256_ORDER - 1) + 1
    return DerivedKeys(
        backup_scalar=scalar,
        data_prk=expand("data", 32),
        manifest_seed=expand("manifest", 32),
        audit_seed=expand("audit", 32),
    )


def root_fingerprint(root: bytes, cluster_uuid: str) -> str:
    """64 hex digits that tell one cluster's root from another's and, HKDF being one-way, give nothing of it away."""
    if len(root) != ROOT_BYTES:
        raise ValueError(f"the root has {ROOT_BYTES} bytes, not {len(root)}")
    hkdf = HKDF(algorithm=SHA256(), length=32, salt=UUID(cluster_uuid).bytes, info=b"keyfold/v1/root-fingerprint")
    return hkdf.derive(root).hex()


def data_key_message(epoch: int) -> bytes:
    """What HMAC-SHA256 under `data_prk` turns into the data key: HKDF-Expand's T(1) (RFC 5869, 2.3) for 32 bytes."""
    return f"keyfold/v1/data-key/{epoch}".encode() + b"\x01"
