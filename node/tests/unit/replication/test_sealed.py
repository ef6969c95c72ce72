"""Values in etcd: sealed under the cluster's key, bound to their place."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.errors import KeyfoldError
from keyfold.replication.sealed import ClearSealer, DataKeySealer, StoredObject

KEY = "/keyfold/v1/objects/acme/a.object"
CONTENT = StoredObject({"class": 3, "label": None}, b"the file's bytes")
SEALER = DataKeySealer(b"k" * 32)


@given(st.binary(max_size=2000), st.dictionaries(st.text(), st.none() | st.text() | st.integers()))
def test_what_is_sealed_opens_again(data: bytes, meta: dict[str, str | int | None]) -> None:
    for sealer in (SEALER, ClearSealer()):
        assert sealer.open(KEY, sealer.seal(KEY, StoredObject(meta, data))) == StoredObject(meta, data)


def test_no_value_shows_the_file_or_its_label() -> None:
    value = SEALER.seal(KEY, StoredObject({"label": "6b6579"}, b"secret file"))
    assert b"secret file" not in value
    assert b"6b6579" not in value


def test_a_value_moved_to_another_key_is_refused() -> None:
    with pytest.raises(KeyfoldError) as caught:
        SEALER.open(KEY.replace("acme", "beta"), SEALER.seal(KEY, CONTENT))
    assert caught.value.code == "refused"


def test_a_value_of_another_cluster_epoch_or_kind_is_refused() -> None:
    for other in (DataKeySealer(b"o" * 32), DataKeySealer(b"k" * 32, epoch=2), ClearSealer()):
        with pytest.raises(KeyfoldError):
            SEALER.open(KEY, other.seal(KEY, CONTENT))
        with pytest.raises(KeyfoldError):
            other.open(KEY, SEALER.seal(KEY, CONTENT))


def test_every_flipped_byte_and_every_truncation_is_refused() -> None:
    value = SEALER.seal(KEY, CONTENT)
    for place in range(len(value)):
        for damaged in (value[:place] + bytes([value[place] ^ 1]) + value[place + 1 :], value[:place]):
            with pytest.raises(KeyfoldError):
                SEALER.open(KEY, damaged)


def test_a_truncated_clear_value_is_refused() -> None:
    value = ClearSealer().seal(KEY, StoredObject({"class": 3}, b""))
    for length in range(len(value)):
        with pytest.raises(KeyfoldError):
            ClearSealer().open(KEY, value[:length])
