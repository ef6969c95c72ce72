"""What the tests of all scenarios share. They run on the controller, against the machines that Molecule made."""

from __future__ import annotations

import os
import secrets
from collections.abc import Callable, Iterator

import pytest
from scenario.application import KEYFOLD, Application
from scenario.cluster import Cluster, scenario_cluster
from scenario.machines import Machine

collect_ignore_glob = [] if "MOLECULE_SCENARIO_NAME" in os.environ else ["*"]


@pytest.fixture(scope="session")
def cluster() -> Cluster:
    return scenario_cluster()


@pytest.fixture
def session(cluster: Cluster) -> Iterator[Callable[..., Application]]:
    """Opens logged-in applications on nodes (or, without one, on the subscriber's machine) and closes them."""
    opened: list[Application] = []

    def open_one(machine: Machine | None = None, partition: str = "acme", *, module: str = KEYFOLD) -> Application:
        if machine is None:
            opened.append(cluster.subscriber(partition))
        else:
            opened.append(cluster.application(machine, partition, module=module))
        return opened[-1]

    yield open_one
    for application in opened:
        application.close()


@pytest.fixture
def tag() -> str:
    """Makes labels this run's own: the machines may be kept from an earlier one."""
    return secrets.token_hex(3)
