"""What each partition gets on a node, as text."""

from __future__ import annotations

from pathlib import Path

import pytest

from keyfold.errors import KeyfoldError
from keyfold.package import Package
from keyfold.provision import plan, subscriber

STATE = Path("/var/lib/keyfold")
ECO = Package("ECO", 1, "always", (), 64, 256, 100_000_000, 5, 100, 1_000_000_000, 96)


def files(*names: str, haproxy: bool = True) -> dict[Path, str]:
    rows = [{"name": name, "package": "ECO"} for name in names]
    return plan.files(plan.packages(rows, {"ECO": ECO}), STATE, haproxy=haproxy, socket_group="haproxy")


def test_each_partition_runs_as_its_own_user_in_its_own_directory() -> None:
    service = files("acme", "beta")[plan.UNIT_DIRECTORY / "keyfold-partition-acme@.service"]
    assert "User=kf-acme\n" in service
    assert "SOFTHSM2_CONF=/var/lib/keyfold/partitions/acme/softhsm2.conf" in service
    assert "ReadWritePaths=/var/lib/keyfold/partitions/acme/tokens\n" in service
    assert "beta" not in service


def test_only_haproxy_may_connect_to_a_partitions_socket() -> None:
    socket = files("acme")[plan.UNIT_DIRECTORY / "keyfold-partition-acme.socket"]
    assert "SocketGroup=haproxy\nSocketMode=0660\n" in socket
    assert "Accept=yes" in socket


def test_there_is_one_backend_per_partition_and_none_for_the_system_partition() -> None:
    written = files("acme", "system", "beta")
    assert written[plan.HAPROXY].count("backend p_") == 2
    assert not any("system" in text for path, text in written.items() if path.suffix in (".cfg", ".conf"))


def test_a_node_without_haproxy_gets_no_backends() -> None:
    assert plan.HAPROXY not in files("acme", haproxy=False)


def test_a_crafted_name_never_becomes_a_path_or_a_unit() -> None:
    with pytest.raises(KeyfoldError):
        files("../../etc/cron.d/x")


def test_each_partition_has_a_second_backend_for_its_subscriber() -> None:
    backends = files("acme", "beta")[plan.HAPROXY]
    assert "server s unix@/run/keyfold/subscribers/acme.sock\n" in backends
    assert backends.count("backend s_") == backends.count("backend p_") == 2


def test_a_node_that_serves_nobody_has_no_self_service() -> None:
    assert len(plan.links(["acme"], haproxy=False)) == 1
    assert plan.UNIT_DIRECTORY / "sockets.target.wants" / "keyfold-subscriber@acme.socket" in plan.links(
        ["acme"], haproxy=True
    )


def test_self_service_counts_against_its_own_partition() -> None:
    """The unit's slice is made of the instance, so that has to be escaped as the slice is."""
    unit = (Path(__file__).parents[3] / "systemd/keyfold-subscriber@.service").read_text(encoding="utf-8")
    assert "\nSlice=keyfold-partition-%i.slice\n" in unit
    for name in ("acme", "acme-labs"):
        instance = subscriber.socket_unit(name).removeprefix("keyfold-subscriber@").removesuffix(".socket")
        assert plan.slice_unit(name) == f"keyfold-partition-{instance}.slice"


def test_the_package_bounds_connections_processes_and_all_of_them_together() -> None:
    written = files("acme")
    assert "be_conn gt 64 " in written[plan.HAPROXY]
    assert "MaxConnections=64\n" in written[plan.UNIT_DIRECTORY / "keyfold-partition-acme.socket"]
    service = written[plan.UNIT_DIRECTORY / "keyfold-partition-acme@.service"]
    for line in ("LimitNOFILE=256", "LimitDATA=100000000", "Nice=5", "Slice=keyfold-partition-acme.slice"):
        assert f"{line}\n" in service
    slice_ = written[plan.UNIT_DIRECTORY / "keyfold-partition-acme.slice"]
    for line in ("CPUWeight=100", "MemoryMax=1000000000", "TasksMax=96"):
        assert f"{line}\n" in slice_


def test_a_partitions_slice_is_below_no_other_partitions() -> None:
    """systemd takes a dash in a slice's name for "below": a-b.slice would be inside a.slice and count against it."""
    assert plan.slice_unit("acme-labs") == r"keyfold-partition-acme\x2dlabs.slice"
    assert (
        f"Slice={plan.slice_unit('acme-labs')}\n"
        in (files("acme-labs")[plan.UNIT_DIRECTORY / "keyfold-partition-acme-labs@.service"])
    )


def test_a_partition_whose_package_is_gone_goes_on_with_the_least_limits() -> None:
    least = plan.packages([{"name": "acme", "package": "GOLD"}], {"ECO": ECO})["acme"]
    assert (least.max_connections, least.nice) == (16, 10)


def test_what_is_enabled_is_what_the_units_say() -> None:
    ((link, target),) = plan.links(["acme"], haproxy=False).items()
    assert link == plan.UNIT_DIRECTORY / "sockets.target.wants" / "keyfold-partition-acme.socket"
    assert target == plan.UNIT_DIRECTORY / "keyfold-partition-acme.socket"
    assert "WantedBy=sockets.target\n" in files("acme")[target]


def test_there_are_enough_numbers_for_a_thousand_partitions_users() -> None:
    """Debian's system users share about 900. Beyond 65535 the agent's user namespace knows nobody."""
    first, last = map(int, plan.UIDS.split("-"))
    assert last - first >= 1000
    assert last < 65_536
    assert files("acme")[plan.SYSUSERS].startswith(f"r - {plan.UIDS}\nu kf-acme ")
