"""Golden vectors, computed once with nothing but HMAC-SHA256: a cluster must get these keys from its root for ever."""

from __future__ import annotations

import hashlib
import hmac

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.custody.derive import P256_ORDER, data_key_message, derive

ROOT = bytes(range(32))
CLUSTER = "5f0c7d5e-8a52-4f5d-9d0e-0a8f5a0b6c11"
OTHER_CLUSTER = "0b1f6a52-93d5-4f41-8a3c-5d3f2f7c9e10"

# epoch: backup scalar, data PRK, manifest seed, data key, audit seed
GOLDEN = {
    1: (
        "fb56d981aea5f13d6b2b49956a22e4c6e10952334cd3f5a596665790b26e3bfd",
        "20071f4d72fee8aa88b470c93f3b6ec1fa5324542d657cb60aa58e3b9e702232",
        "a0c8888bf1564624feb8b4f8f8e818d47cf81dc08ee4ed449ecffc1c84b097e2",
        "f5b119accd0938f144ce22c4913e6e1303b58f0b831b8a98164ad149503b8e25",
        "63a426803211ca1a7cce7be7903135ea899804f005445cdeffd19e6f43acb9ee",
    ),
    2: (
        "14bec5dadba06db818c13045e558f00c7886552566d8fca0f47159a9469f1e0a",
        "2319fe3c92c6d65e2da78fed4f138a1faec39c292a43a73501b82e5fa250698d",
        "41e64f020bc347b6344cd71f3ae96451343a61c4f6f4b9e52e96d9ee21691a71",
        "b112e060be393842174106fcb753265415ee16dfceba5329ac06637dc29fc885",
        "ca9b82b36bea1d58b4b0eaf5a225783ecfddef2facd0c0c7a6170d1b2d95ce92",
    ),
}


@pytest.mark.parametrize("epoch", GOLDEN)
def test_the_golden_root_gives_the_golden_keys(epoch: int) -> None:
    keys = derive(ROOT, CLUSTER, epoch)
    data_key = hmac.digest(keys.data_prk, data_key_message(epoch), hashlib.sha256)
    found = (
        f"{keys.backup_scalar:064x}",
        keys.data_prk.hex(),
        keys.manifest_seed.hex(),
        data_key.hex(),
        keys.audit_seed.hex(),
    )
    assert found == GOLDEN[epoch]


@given(st.binary(min_size=32, max_size=32), st.integers(1, 1000))
def test_the_backup_scalar_is_a_private_key_of_p256(root: bytes, epoch: int) -> None:
    assert 1 <= derive(root, CLUSTER, epoch).backup_scalar < P256_ORDER


def test_another_cluster_gets_other_keys_from_the_same_root() -> None:
    ours, theirs = derive(ROOT, CLUSTER), derive(ROOT, OTHER_CLUSTER)
    assert ours.backup_scalar != theirs.backup_scalar
    assert ours.data_prk != theirs.data_prk
    assert ours.manifest_seed != theirs.manifest_seed
    assert ours.audit_seed not in (theirs.audit_seed, ours.manifest_seed)


def test_the_cluster_is_the_uuid_and_not_its_spelling() -> None:
    assert derive(ROOT, CLUSTER.upper()) == derive(ROOT, CLUSTER)


@pytest.mark.parametrize(
    ("root", "cluster", "epoch"),
    [(ROOT[:-1], CLUSTER, 1), (ROOT + b"\0", CLUSTER, 1), (ROOT, "acme", 1), (ROOT, CLUSTER, 0)],
)
def test_arguments_of_another_shape_are_refused(root: bytes, cluster: str, epoch: int) -> None:
    with pytest.raises(ValueError, match=r"root|UUID|epoch"):
        derive(root, cluster, epoch)


def test_derived_keys_do_not_show_in_their_repr() -> None:
    assert repr(derive(ROOT, CLUSTER)) == "DerivedKeys()"
