from __future__ import annotations

import base64
import json
from dataclasses import asdict, replace

import pytest

from keyfold.backup import manifest
from keyfold.backup.manifest import ArchiveEntry, Cluster, Difference, Manifest
from keyfold.custody import record
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical

UUID = "11111111-2222-4333-8444-555555555555"
KEYS = MemorySystemKeys(bytes(range(32)), UUID)
CLUSTER = Cluster(UUID, KEYS.signing_public_key())
MADE = Manifest(
    format=2,
    cluster_uuid=UUID,
    backup_key_fingerprint="SHA256:backup",
    signing_key_fingerprint="SHA256:signing",
    set_id="20261123T023000Z-00000000",
    sequence=7,
    previous_sha256="ab" * 32,
    created="2026-11-23T02:30:00.000000Z",
    retention_class="daily",
    revision=1234,
    node="hsm3",
    partitions=(ArchiveEntry("acme", "uuid", "acme-00.age", 3, 4096, "cd" * 32),),
    differences=(Difference("acme", "token.object", "changed"),),
    backup_epoch=3,
    root_fingerprint="ef" * 32,
    share_identifier=4711,
    share_threshold=3,
    cluster=(ArchiveEntry("_cluster", UUID, "_cluster-00.age", 5, 1024, "ab" * 32),),
)
DOCUMENT = manifest.signed(MADE, KEYS.sign)


def refusal(document: bytes, cluster: Cluster = CLUSTER) -> str:
    with pytest.raises(KeyfoldError) as caught:
        manifest.verify(document, cluster)
    assert caught.value.code == "refused"
    return caught.value.what


def resigned(raw: object) -> bytes:
    body = canonical(raw)
    seal = json.loads(DOCUMENT.split(b"\n")[1])
    seal["ed25519"] = base64.b64encode(KEYS.sign(manifest.DOMAIN + body)).decode()
    return body + b"\n" + canonical(seal) + b"\n"


def test_what_was_signed_is_read_back() -> None:
    assert manifest.verify(DOCUMENT, CLUSTER) == MADE


def test_every_flipped_byte_is_refused() -> None:
    for at in range(len(DOCUMENT)):
        for bit in (1, 32, 128):
            refusal(DOCUMENT[:at] + bytes([DOCUMENT[at] ^ bit]) + DOCUMENT[at + 1 :])


def test_every_truncation_and_every_addition_is_refused() -> None:
    for length in range(len(DOCUMENT)):
        refusal(DOCUMENT[:length])
    for more in (b"\n", b" ", b"x", DOCUMENT):
        refusal(DOCUMENT + more)


def test_an_unsigned_manifest_is_called_unsigned() -> None:
    body = DOCUMENT.split(b"\n")[0]
    assert "not signed" in refusal(body)
    assert "not signed" in refusal(body + b"\n")


def test_another_cluster_is_named() -> None:
    other = "99999999-2222-4333-8444-555555555555"
    assert f"another cluster: {UUID}" in refusal(DOCUMENT, Cluster(other, CLUSTER.signing_public_key))


def test_another_clusters_key_is_refused() -> None:
    stranger = MemorySystemKeys(bytes(32), UUID)
    assert "signature" in refusal(manifest.signed(MADE, stranger.sign))


def test_a_signature_over_the_bare_body_is_refused() -> None:
    """The domain keeps signatures made for something else from counting here."""
    document = manifest.signed(MADE, lambda message: KEYS.sign(message.removeprefix(manifest.DOMAIN)))
    assert "signature" in refusal(document)


def test_a_newer_format_says_what_to_do() -> None:
    assert "install a newer" in refusal(manifest.signed(replace(MADE, format=3), KEYS.sign))


RAW = json.loads(canonical(asdict(MADE)))


@pytest.mark.parametrize(
    "raw",
    [
        RAW | {"extra": 1},
        {key: value for key, value in RAW.items() if key != "sequence"},
        RAW | {"sequence": "7"},
        RAW | {"sequence": True},
        RAW | {"partitions": {}},
        RAW | {"partitions": [{**RAW["partitions"][0], "size_bytes": 1.5}]},
        RAW | {"partitions": [{**RAW["partitions"][0], "extra": 1}]},
        RAW | {"differences": [None]},
        RAW | {"format": 0},
        RAW | {"format": 1},
        RAW | {"cluster": [{}]},
        RAW | {"backup_epoch": "3"},
        RAW | {"signing_key_fingerprint": "SHA256:other"},
    ],
)
def test_even_signed_nonsense_is_refused(raw: object) -> None:
    refusal(resigned(raw))


def test_the_helper_signs_what_verify_accepts() -> None:
    assert manifest.verify(resigned(RAW), CLUSTER) == MADE


def test_a_manifest_of_format_1_is_read_and_knows_nothing_of_custody() -> None:
    old = replace(
        MADE, format=1, backup_epoch=1, root_fingerprint="", share_identifier=-1, share_threshold=0, cluster=()
    )
    document = manifest.signed(old, KEYS.sign)
    assert b"backup_epoch" not in document
    assert manifest.verify(document, CLUSTER) == old
    assert old.archives == old.partitions


def test_a_set_signed_before_the_last_rotation_is_believed_and_a_strangers_is_not() -> None:
    newer, stranger = MemorySystemKeys(bytes(range(32)), UUID, (2,)), MemorySystemKeys(bytes(32), UUID)
    first = record.fingerprint(KEYS.signing_public_key())
    document = manifest.signed(replace(MADE, signing_key_fingerprint=first), KEYS.sign)
    rotated = Cluster(UUID, newer.signing_public_key(), (KEYS.signing_public_key(),))
    assert manifest.verify(document, rotated).signing_key_fingerprint == first
    assert "signature" in refusal(document, Cluster(UUID, newer.signing_public_key()))
    assert "signature" in refusal(manifest.signed(replace(MADE, signing_key_fingerprint=first), stranger.sign), rotated)
