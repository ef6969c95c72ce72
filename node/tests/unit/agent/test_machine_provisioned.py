"""What a node knows of its partitions while etcd does not answer."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock

import pytest

from keyfold.agent.machine import Machine
from keyfold.errors import KeyfoldError
from keyfold.partition.policy import full_policy
from keyfold.replication.registry import Registry


def machine(state: Path) -> Machine:
    (state / "agent").mkdir(exist_ok=True)
    return Machine(SimpleNamespace(state=state, run=state / "run", partition_directory=lambda name: state / name))  # type: ignore[arg-type]


def test_an_agent_that_starts_without_etcd_knows_the_policies_of_an_earlier_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("subprocess.run", MagicMock(return_value=SimpleNamespace(returncode=0)))
    machine(tmp_path).provision(
        [{"name": "acme", "package": "ECO", "policy": full_policy("acme", {"max_failures": 7}, 1000)}]
    )
    registry = Registry(MagicMock(), machine(tmp_path))
    assert registry.policy("acme")["max_failures"] == 7
    with pytest.raises(KeyfoldError, match="globex"):
        registry.policy("globex")


def test_a_new_node_knows_none(tmp_path: Path) -> None:
    assert list(machine(tmp_path).provisioned()) == []
