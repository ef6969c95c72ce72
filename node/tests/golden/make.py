"""How a golden set here was made, once for each format version, with SoftHSM 2.6.1 and age 1.1:

    cd node && python -m tests.golden.make tests/golden/v2

It is not made again: an old set must stay readable by every later Keyfold.
"""

from __future__ import annotations

import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import CLUSTER_UUID, ROOT, make_site
from support.softhsm_application import application

from keyfold.custody.create import create_partition_token
from keyfold.custody.derive import root_fingerprint
from keyfold.token.object_file import describe, parse

CKA_EC_POINT = 0x181
PARTITION, PIN, LABEL = "golden", "golden-pin", "golden key"


def make(target: Path) -> None:
    with tempfile.TemporaryDirectory() as scratch, pytest.MonkeyPatch.context() as patch:
        site = make_site(Path(scratch), patch)
        directory = Path(scratch) / PARTITION
        directory.mkdir()
        token = create_partition_token(directory, PARTITION, 0, 0, "golden-so-pin", PIN)
        with application(directory, PARTITION, PIN) as softhsm:
            softhsm("generate", LABEL)
        fingerprint = root_fingerprint(ROOT, CLUSTER_UUID)
        site.agent.custody = {"identifier": 4711, "threshold": 3, "root_fingerprint": fingerprint}
        partition = site.agent.add_partition(PARTITION)
        partition.live.clear()
        partition.row["uuid"] = "6b0c2f5e-0000-4000-8000-000000000001"
        partition.row["token_uuid"] = token
        point = b""
        for file in sorted((directory / "tokens" / token).glob("*.object")):
            seen = describe(file.read_bytes())
            meta: dict[str, Any] = {"class": seen.object_class, "key_type": seen.key_type}
            if seen.object_class is not None:
                meta["label"] = LABEL.encode().hex()
            if seen.object_class == 2:
                value = parse(file.read_bytes()).attributes[CKA_EC_POINT]
                assert isinstance(value, bytes)
                point = value
            site.agent.put(PARTITION, file.name, file.read_bytes(), meta)
        site.run()
        for name, content in site.store.files().items():
            path = target / "store" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)
        expected = {
            "partition": partition.row,
            "pin": PIN,
            "label": LABEL,
            "public_point": point.hex(),
            "records": site.agent.records["backup_set"],
            "objects": {
                file: {"meta": stored.meta, "data": stored.data.hex()} for file, stored in partition.live.items()
            },
        }
        (target / "expected.json").write_text(json.dumps(expected, indent=1, sort_keys=True) + "\n")


if __name__ == "__main__":
    make(Path(sys.argv[1]))
