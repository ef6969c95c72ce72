"""The daily job: by its timer, made up for, one at a time, only where it belongs."""

from __future__ import annotations

import json
from functools import partial
from typing import Any

import pytest
from scenario.cluster import Cluster, CommandRefused, keyfold
from scenario.machines import Machine
from scenario.timers import ended, miss
from scenario.waiting import wait_for

CANARY = "keyfold-canary"
# What `keyfold backup run` asks of the agent before it does anything.
HOLD = """
import json, sys
from pathlib import Path
from keyfold.agent.client import AgentClient
print(json.dumps(AgentClient(Path("/run/keyfold/agent.sock")).call(**json.loads(sys.argv[1]))))
"""


def agent(machine: Machine, **request: Any) -> dict[str, Any]:
    reply: dict[str, Any] = json.loads(machine.run("python3", "-c", HOLD, json.dumps(request)))
    return reply


@pytest.fixture
def backing(cluster: Cluster) -> Machine:
    return cluster.node("hsm3")


def test_a_run_that_was_missed_is_made_up_for_and_the_set_has_the_canary(backing: Machine) -> None:
    assert keyfold(backing, "backup", "list")["sets"] == []
    miss(backing, "keyfold-backup")
    wait_for(partial(ended, backing, "keyfold-backup.service"), "the backup that was missed", 300.0)
    (made,) = keyfold(backing, "backup", "list")["sets"]
    assert made["verified"] is True
    assert [(row["name"], row["objects"]) for row in made["partitions"]] == [("acme", 1), (CANARY, 3)]


def test_the_next_timer_of_the_same_day_makes_no_second_set(backing: Machine) -> None:
    assert keyfold(backing, "backup", "run", "--daily")["changed"] is False
    assert len(keyfold(backing, "backup", "list")["sets"]) == 1


def test_a_second_run_is_told_who_is_running(backing: Machine) -> None:
    lease = agent(backing, op="job_begin", job="backup", id="test")["lease"]
    try:
        with pytest.raises(CommandRefused, match="a backup is under way on hsm3 since") as caught:
            keyfold(backing, "backup", "run")
        assert caught.value.code == "conflict"
    finally:
        agent(backing, op="job_end", job="backup", id="test", lease=lease)
    assert keyfold(backing, "backup", "run")["changed"] is True


@pytest.mark.parametrize("command", [("backup", "run"), ("drill", "run"), ("drill", "prepare")])
def test_other_sites_run_no_job(cluster: Cluster, command: tuple[str, ...]) -> None:
    with pytest.raises(CommandRefused, match="not in the backup site"):
        keyfold(cluster.nodes[0], *command)


def test_the_canary_is_mirrored_like_any_partition(cluster: Cluster) -> None:
    held = cluster.await_agreement(CANARY)
    assert len(held) == 3
