"""What each partition gets on a node, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfold.errors import KeyfoldError
from keyfold.provision import plan

STATE = Path("/var/lib/keyfold")


def files(*names: str, haproxy: bool = True) -> dict[Path, str]:
    return plan.files(names, STATE, haproxy=haproxy, socket_group="haproxy")


def test_each_partition_runs_as_its_own_user_in_its_own_directory() -> None:
    service = files("acme", "beta")[plan.UNIT_DIRECTORY / "keyfold-partition-acme@.service"]
    assert "User=kf-acme\n" in service
    assert "SOFTHSM2_CONF=/var/lib/keyfold/partitions/acme/softhsm2.conf" in service
    assert "ReadWritePaths=/var/lib/keyfold/partitions/acme\n" in service
    assert "beta" not in service


def test_only_haproxy_may_connect_to_a_partitions_socket() -> None:
    socket = files("acme")[plan.UNIT_DIRECTORY / "keyfold-partition-acme.socket"]
    assert "SocketGroup=haproxy\nSocketMode=0660\n" in socket
    assert "Accept=yes" in socket


def test_there_is_one_backend_per_partition_and_none_for_the_system_partition() -> None:
    names = plan.names([{"name": "acme"}, {"name": "system"}, {"name": "beta"}])
    assert files(*names)[plan.HAPROXY].count("backend p_") == 2
    assert "system" not in files(*names)[plan.HAPROXY]


def test_a_node_without_haproxy_gets_no_backends() -> None:
    assert plan.HAPROXY not in files("acme", haproxy=False)


def test_a_crafted_name_never_becomes_a_path_or_a_unit() -> None:
    with pytest.raises(KeyfoldError):
        plan.names([{"name": "../../etc/cron.d/x"}])


def test_each_partition_has_a_second_backend_for_its_subscriber() -> None:
    backends = files("acme", "beta")[plan.HAPROXY]
    assert "backend s_acme\n    mode tcp\n    server s unix@/run/keyfold/subscribers/acme.sock maxconn 8\n" in backends
    assert backends.count("backend s_") == backends.count("backend p_") == 2
