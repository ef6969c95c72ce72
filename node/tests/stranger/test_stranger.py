"""docs/formats.md is enough to write a reader with: one that was written so reads what Keyfold writes."""

from __future__ import annotations

import ast
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from stranger import reader
from support.backup_site import CLUSTER_UUID, ROOT, BackupSite, make_site

from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.replication.sealed import ClearSealer, DataKeySealer, StoredObject
from keyfold.subscriber.attributes import KEY_TYPES, TEMPLATE

KEYS = reader.Keys(ROOT, CLUSTER_UUID)
GOLDEN = Path(__file__).parent.parent / "golden"
PAGE = Path(__file__).parents[3] / "docs/formats.md"
Files = Mapping[str, tuple[Any, bytes]]


def read_set(files: Mapping[str, bytes]) -> tuple[dict[str, Files], dict[str, bytes]]:
    """Objects by partition, and the values of the cluster's own archive. `files`: the set's, by name."""
    manifest = reader.read_manifest(files["manifest.jsonl"], KEYS)
    partitions: dict[str, Files] = {}
    values: dict[str, bytes] = {}
    for entry in (*manifest["partitions"], *manifest.get("cluster", [])):
        ciphertext = files[entry["archive"]]
        reader.verify_archive(ciphertext, entry)
        plain = reader.decrypt(ciphertext, KEYS)
        if entry["name"] == "_cluster":
            label, values = reader.read_cluster_archive(plain)
            assert len(values) == entry["objects"]
        else:
            label, _, partitions[entry["name"]] = reader.read_archive(plain)
            assert len(partitions[entry["name"]]) == entry["objects"]
        reader.compare_label(label, manifest, entry)
    return partitions, values


@pytest.mark.parametrize("version", ["v1", "v2"])
def test_it_reads_the_golden_sets(version: str) -> None:
    expected = json.loads((GOLDEN / version / "expected.json").read_text())
    (directory,) = (GOLDEN / version / "store" / CLUSTER_UUID).iterdir()
    partitions, values = read_set({path.name: path.read_bytes() for path in directory.iterdir()})
    (objects,) = partitions.values()
    assert {file: {"meta": meta, "data": data.hex()} for file, (meta, data) in objects.items()} == expected["objects"]
    assert (version == "v1") == (not values)


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    """Two partitions; one has more than a chunk of age's, the other a label beyond ASCII."""
    site = make_site(tmp_path, monkeypatch)
    for name in ("acme", "bolt"):
        site.agent.add_partition(name)
    for number in range(1, 200):
        site.agent.add_key("acme", number, "signer", 3)
    site.agent.add_key("bolt", 1, "Schlüssel", 2)
    return site


def stored(site: BackupSite, set_id: str) -> dict[str, bytes]:
    """The set's files, by name."""
    prefix = f"{CLUSTER_UUID}/{set_id}/"
    return {name.removeprefix(prefix): data for name, data in site.store.files().items() if name.startswith(prefix)}


def test_it_reads_what_keyfold_writes_today(site: BackupSite) -> None:
    partitions, values = read_set(stored(site, site.run().set_id))
    assert partitions == {
        name: {file: (one.meta, one.data) for file, one in partition.live.items()}
        for name, partition in site.agent.partitions.items()
    }
    assert "/keyfold/v1/cluster" in values


def test_it_refuses_what_was_altered(site: BackupSite) -> None:
    files = stored(site, site.run("bolt").set_id)
    for name, data in files.items():
        with pytest.raises(reader.Malformed):
            read_set({**files, name: data[:-3] + bytes([data[-3] ^ 1]) + data[-2:]})


def test_it_opens_a_sealed_object_and_only_in_its_place() -> None:
    content = StoredObject(
        {"class": 3, "key_type": 0, "label": "6b", "id": None, "created": "2026-11-23T00:00:00Z"}, b"x"
    )
    data_key = KEYS.data_key()
    key, system = "/keyfold/v1/objects/acme/token.object", "/keyfold/v1/objects/system/token.object"
    sealed = DataKeySealer(MemorySystemKeys(ROOT, CLUSTER_UUID).data_key()).seal(key, content)
    clear = ClearSealer().seal(system, content)
    assert reader.open_sealed(key, sealed, data_key) == (content.meta, content.data)
    assert reader.open_sealed(system, clear, data_key) == (content.meta, content.data)
    for place, value in ((system, sealed), (key, clear), (key.replace("acme", "bolt"), sealed)):
        with pytest.raises(reader.Malformed):
            reader.open_sealed(place, value, data_key)


def test_the_page_has_the_vectors() -> None:
    page = PAGE.read_text()
    assert KEYS.data_prk().hex() in page
    assert KEYS.data_key().hex() in page


@pytest.mark.parametrize("cls", TEMPLATE)
def test_the_page_lists_the_attributes_that_travel(cls: str) -> None:
    rows = dict(re.findall(r"^\| `?([a-z]+)`? \| (.*CKA_.*) \|$", PAGE.read_text(), re.MULTILINE))
    every_key, _, guarded = rows["keys"].partition(";")
    said = [rows["all"], rows[cls]]
    said += [every_key] if cls in KEY_TYPES else []
    said += [guarded] if cls in ("private", "secret") else []
    assert set(re.findall(r"CKA_\w+", " ".join(said))) == set(TEMPLATE[cls])


def test_it_has_nothing_of_keyfold() -> None:
    tree = ast.parse(Path(reader.__file__).read_text())
    imported = {name.name for node in ast.walk(tree) if isinstance(node, ast.Import) for name in node.names}
    imported |= {str(node.module) for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    assert not [name for name in imported if name.partition(".")[0] in ("keyfold", "support")]
