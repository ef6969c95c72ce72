"""Sets of every format version that was ever written still restore, down to a key that signs."""

from __future__ import annotations

import io
import json
import tempfile
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from support.backup_site import CLUSTER_UUID, ROOT, BackupSite, make_site
from support.softhsm_application import application

from keyfold.backup import sets
from keyfold.backup.age import decrypting
from keyfold.backup.cluster import ClusterState
from keyfold.backup.cluster_archive import ClusterArchiveReader
from keyfold.backup.sets import RECORD_KIND
from keyfold.backup.verify import require_good, verify_sets
from keyfold.custody.conf import write_softhsm2_conf
from keyfold.restore.rebuild import plan as rebuild_plan

VERSIONS = sorted(path for path in Path(__file__).parent.iterdir() if (path / "expected.json").exists())


@pytest.fixture(params=VERSIONS, ids=lambda path: path.name)
def golden(request: pytest.FixtureRequest) -> Path:
    directory: Path = request.param
    return directory


@pytest.fixture
def expected(golden: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads((golden / "expected.json").read_text())
    return loaded


@pytest.fixture
def site(golden: Path, expected: dict[str, Any], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    """The same cluster, rebuilt from its root, with nothing left but the store."""
    site = make_site(tmp_path, monkeypatch)
    for path in sorted((golden / "store").rglob("*")):
        name = str(path.relative_to(golden / "store"))
        if path.is_dir():
            site.store.make_collection(name)
        else:
            content = path.read_bytes()
            site.store.put_new(name, io.BytesIO(content), len(content))
    return site


def test_there_is_a_golden_set_of_every_format() -> None:
    assert [path.name for path in VERSIONS] == ["v1", "v2"]


@pytest.mark.parametrize("recorded", [True, False])
def test_a_golden_set_verifies_and_restores(site: BackupSite, expected: dict[str, Any], recorded: bool) -> None:
    if recorded:
        site.agent.records[RECORD_KIND] = expected["records"]
    cluster = ClusterState(site.agent)
    require_good(verify_sets(site.store, cluster.identity().signer, cluster.records(RECORD_KIND)))
    name = expected["partition"]["name"]
    site.apply(name)
    partition = site.agent.partitions[name]
    assert partition.row == expected["partition"]
    restored = {file: {"meta": stored.meta, "data": stored.data.hex()} for file, stored in partition.live.items()}
    assert restored == expected["objects"]


@pytest.mark.container
def test_a_key_from_a_golden_set_signs(site: BackupSite, expected: dict[str, Any], tmp_path: Path) -> None:
    name = expected["partition"]["name"]
    site.apply(name)
    directory = tmp_path / name
    token = directory / "tokens" / expected["partition"]["token_uuid"]
    token.mkdir(parents=True)
    write_softhsm2_conf(directory)
    for file, stored in site.agent.partitions[name].live.items():
        (token / file).write_bytes(stored.data)
    with application(directory, name, expected["pin"]) as softhsm:
        signature = bytes.fromhex(softhsm("sign", expected["label"]))
    # CKA_EC_POINT is a DER OCTET STRING around the point (PKCS#11, EC public keys).
    point = bytes.fromhex(expected["public_point"])[2:]
    key = ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP256R1(), point)
    der = utils.encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    key.verify(der, bytes(32), ec.ECDSA(utils.Prehashed(SHA256())))


def test_the_clusters_own_archive_of_format_2_is_read(site: BackupSite, golden: Path, expected: dict[str, Any]) -> None:
    signer = ClusterState(site.agent).identity().signer
    [stored] = sets.read_all(site.store, signer, expected["records"])
    assert stored.manifest is not None
    if golden.name == "v1":
        assert (stored.manifest.format, stored.manifest.cluster) == (1, ())
        return
    made = rebuild_plan([stored], sets.LATEST, ROOT, CLUSTER_UUID).manifest
    (entry,) = made.cluster
    ciphertext = io.BytesIO(site.store.files()[f"{CLUSTER_UUID}/{made.set_id}/{entry.archive}"])
    with tempfile.TemporaryFile() as file:
        file.write(ciphertext.getvalue())
        with decrypting(ClusterState(site.agent).identity().backup_identity, file) as plain:
            reader = ClusterArchiveReader(plain)
            rows = {one.key: json.loads(one.value) for one in reader.entries()}
    assert reader.label.set_id == made.set_id
    assert rows["/keyfold/v1/partitions/golden"] == expected["partition"]
    assert (made.share_identifier, made.share_threshold) == (4711, 3)
