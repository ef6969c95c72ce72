"""The nodes are bare. What cannot be the cluster's is refused by name, and nothing is made."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path

import pytest
from scenario.cluster import Cluster
from scenario.evidence import kept
from scenario.machines import ROOT, controller_directory

from keyfold_shares import Entered, split, words_of


@pytest.fixture
def sheets(tmp_path: Path) -> dict[str, Path]:
    """Of each custodian, opened by hand as docs/custody.md says."""
    found = {}
    for sealed in sorted((controller_directory() / "taken-home").glob("*.age")):
        name = sealed.stem.split("-")[-1]
        key = controller_directory() / "custodians" / f"{name}.key"
        opened = subprocess.run(["age", "-d", "-i", key, sealed], capture_output=True, check=True)
        found[name] = tmp_path / name
        found[name].touch(mode=0o600)
        found[name].write_bytes(opened.stdout)
    return found


def rebuild(*shares: Path) -> subprocess.CompletedProcess[str]:
    """The operator's own command, as loud as it gets."""
    variables = {
        "rebuild_cluster_uuid": kept("cluster")["uuid"],
        "custody_share_files": [str(share) for share in shares],
        "confirm": "yes",
    }
    return subprocess.run(
        [
            "ansible-playbook",
            "-vvv",
            "-i",
            "inventories/molecule",
            "playbooks/rebuild.yml",
            "-e",
            json.dumps(variables),
        ],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )


def test_every_bad_share_is_named_and_its_words_are_not(
    cluster: Cluster, sheets: dict[str, Path], tmp_path: Path
) -> None:
    mistyped = words_of(Entered("bob", sheets["bob"].read_text()))
    mistyped[9] = "academic" if mistyped[9] != "academic" else "acid"
    (tmp_path / "bob-typed").write_text(" ".join(mistyped))
    (tmp_path / "alice-again").write_text(" ".join(words_of(Entered("alice", sheets["alice"].read_text()))))
    _, strangers = split(os.urandom(32), 3, 5)
    (tmp_path / "stranger").write_text(strangers[2])
    bad = [tmp_path / name for name in ("bob-typed", "alice-again", "stranger")]
    done = rebuild(sheets["alice"], sheets["erin"], *bad)
    said = done.stdout + done.stderr
    assert done.returncode != 0
    for expected in (
        "bob-typed is mistyped",
        "alice-again (share 1) is given twice: it is also alice",
        "stranger is foreign",
        "too few shares: 2 good ones of the 3 that are needed",
    ):
        assert expected in said
    for sheet in sheets.values():
        assert " ".join(words_of(Entered("", sheet.read_text()))[4:9]) not in said
    assert " ".join(mistyped[4:9]) not in said
    for node in cluster.nodes:
        assert node.attempt("keyfold", "cluster", "info").returncode == 3
        assert node.shell("ls /var/lib/keyfold/partitions 2>/dev/null || true").strip() == ""


def test_a_strangers_root_rebuilds_nothing(cluster: Cluster) -> None:
    done = cluster.node("hsm3").attempt("keyfold", "rebuild", "run", "--json", stdin=json.dumps({"root": "00" * 32}))
    assert done.returncode == 8
    assert "was made by the cluster of these shares" in json.loads(done.stdout)["what"]
    assert cluster.node("hsm3").attempt("keyfold", "cluster", "info").returncode == 3
