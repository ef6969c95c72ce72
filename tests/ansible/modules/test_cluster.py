from __future__ import annotations

import json
from pathlib import Path
from typing import Any

ROOT = "ab" * 32
UUID = "5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11"
NORTH = {"name": "north", "uuid": UUID, "root": ROOT}


def test_genesis_changes_once_and_check_mode_agrees(run: Any, fake: Any) -> None:
    fake.set(cluster=None)
    results = [run("keyfold_cluster", check=check, **NORTH) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["diff"] == results[1]["diff"] == {"before": {}, "after": {"name": "north", "uuid": UUID}}
    assert "diff" not in results[3]


def test_check_mode_founds_nothing(run: Any, fake: Any) -> None:
    fake.set(cluster=None)
    run("keyfold_cluster", check=True, **NORTH)
    assert fake.state["cluster"] is None


def test_genesis_on_a_bare_host_would_change(run: Any, tmp_path: Path) -> None:
    assert run("keyfold_cluster", check=True, command=str(tmp_path / "nothing"), **NORTH)["changed"]


def test_another_clusters_uuid_is_refused(run: Any) -> None:
    result = run("keyfold_cluster", **{**NORTH, "uuid": "11111111-1111-4111-8111-111111111111"})
    assert (result["failed"], result["code"]) == (True, "conflict")


def test_the_root_goes_over_standard_input_only(run: Any, fake: Any) -> None:
    fake.set(cluster=None)
    result = run("keyfold_cluster", **NORTH)
    assert fake.state["root_length"] == len(ROOT)
    assert ROOT not in json.dumps(result) + fake.calls_log.read_text()
