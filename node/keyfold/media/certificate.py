"""The certificate of a medium key's destruction, signed by the cluster (docs/formats.md). Pure.

It is made when all that it says is so, not before: etcd has had no such key from `revision` on, and no history before
it; every node of the cluster has followed.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass

from keyfold.backup import statement
from keyfold.backup.manifest import Cluster
from keyfold.errors import KeyfoldError

FORMAT = 1
DOMAIN = b"keyfold medium destroyed v1\0"


@dataclass(frozen=True, slots=True)
class Certificate:
    """`created`, `destroyed`, `certified`: RFC 3339, UTC; `because`: as in the register; `nodes`: all that followed.

    `last_copy`: when no daily backup that is kept has a sealed copy of the key any more. `revision`: of etcd.
    """

    format: int
    cluster_uuid: str
    signing_key_fingerprint: str
    medium: str
    name: str
    device: str
    key_fingerprint: str
    set_id: str
    created: str
    destroyed: str
    because: str
    by: str
    ticket: str
    revision: int
    nodes: tuple[str, ...]
    last_copy: str
    certified: str


def signed(certificate: Certificate, sign: Callable[[bytes], bytes]) -> bytes:
    """The document to keep; `sign` makes the cluster's Ed25519 signature."""
    return statement.signed(asdict(certificate), DOMAIN, sign)


def verify(document: bytes, cluster: Cluster) -> Certificate:
    """The certificate, if this cluster signed these very bytes; KeyfoldError `refused` says why it is not believed."""
    try:
        raw = statement.opened(document, DOMAIN, cluster, FORMAT)
        return Certificate(**{**raw, "nodes": tuple(raw["nodes"])})
    except (ValueError, TypeError, KeyError) as error:
        raise KeyfoldError(
            "refused",
            f"the certificate of destruction is not believed: {error}",
            not_done="it proves nothing",
            next_step="keyfold media list --json has the register's own copy",
        ) from error
