from __future__ import annotations

from pathlib import Path
from typing import Any

DOWN = {"ok": False, "code": "agent_down", "exit_code": 6, "what": "no answer", "not_done": "N", "next": "X"}


def test_reads_the_cluster_without_changing_it(run: Any, fake: Any) -> None:
    result = run("keyfold_cluster_info")
    assert result["changed"] is False
    assert result["cluster"]["name"] == "test"
    assert [node["name"] for node in result["nodes"]] == ["hsm1", "hsm2", "hsm3"]
    assert fake.calls == [["status"]]


def test_waits_for_an_agent_that_is_starting(run: Any, fake: Any) -> None:
    fake.set(failures=[DOWN, DOWN])
    assert run("keyfold_cluster_info", wait_seconds=10)["node"] == "hsm1"
    assert len(fake.calls) == 3


def test_an_agent_that_stays_down_is_an_error_with_its_reason(run: Any, fake: Any) -> None:
    fake.set(failures=[DOWN] * 100)
    result = run("keyfold_cluster_info", wait_seconds=1)
    assert (result["failed"], result["code"], result["exit_code"]) == (True, "agent_down", 6)
    assert "no answer" in result["msg"]


def test_waiting_for_the_cluster_needs_genesis_and_quorum(run: Any, fake: Any) -> None:
    fake.set(cluster=None)
    assert "not been initialized" in run("keyfold_cluster_info", wait_for="cluster")["msg"]
    fake.set(cluster={"name": "test"}, quorum=False)
    assert "majority" in run("keyfold_cluster_info", wait_for="cluster")["msg"]
    fake.set(quorum=True)
    assert run("keyfold_cluster_info", wait_for="cluster")["cluster"] == {"name": "test"}


def test_waits_only_for_the_changes_there_were_at_the_beginning(run: Any, fake: Any) -> None:
    fake.set(lags=[2, 1])
    run("keyfold_cluster_info", wait_for="applied", wait_seconds=10)
    assert len(fake.calls) == 3


def test_check_mode_does_not_wait(run: Any, fake: Any) -> None:
    fake.set(cluster=None)
    assert run("keyfold_cluster_info", check=True, wait_for="cluster", wait_seconds=60)["cluster"] is None
    assert len(fake.calls) == 1


def test_a_bare_host_is_an_empty_cluster_in_check_mode_only(run: Any, tmp_path: Path) -> None:
    nothing = str(tmp_path / "nothing")
    assert run("keyfold_cluster_info", check=True, command=nothing)["partitions"] == []
    assert "cannot be run" in run("keyfold_cluster_info", command=nothing, wait_seconds=60)["msg"]
