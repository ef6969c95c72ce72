"""A partition's process in its sandbox, and the sandbox of every other unit."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from scenario.cluster import Cluster
from scenario.connections import Held
from scenario.identities import issued
from scenario.machines import Machine, client, machines

# 0 to 10; systemd calls 2.0 and less "OK" or "SAFE".
MOST_EXPOSURE = 2.0
NODE_UNITS = [
    "keyfold-agent",
    "keyfold-backup",
    "keyfold-provision",
    "keyfold-connections",
    "keyfold-expire",
    "keyfold-drill",
    "keyfold-media",
    "keyfold-metrics",
    "keyfold-partition-acme@x",
    "keyfold-subscriber@acme",
]


@pytest.mark.parametrize(
    ("host", "unit"),
    [*(("hsm1", unit) for unit in NODE_UNITS), ("hsm3", "keyfold-backup"), ("app1", "keyfold-client@acme")],
)
def test_every_unit_is_sandboxed(cluster: Cluster, host: str, unit: str) -> None:
    shown = machines()[host].attempt(
        "systemd-analyze", "security", "--no-pager", f"--threshold={MOST_EXPOSURE * 10:.0f}", f"{unit}.service"
    )
    assert shown.returncode == 0, shown.stdout[-400:] + shown.stderr


def test_no_unit_is_forgotten_here(cluster: Cluster) -> None:
    """A unit of Keyfold's that is added to a node has to be in the list above."""
    listed = cluster.node("hsm1").shell(
        "systemctl list-unit-files --no-legend 'keyfold-*.service' | cut -d' ' -f1 | grep -v -e -partition- || true"
    )
    # A template is listed without an instance.
    assert set(listed.split()) <= {f"{re.sub('@.*', '@', unit)}.service" for unit in NODE_UNITS}, listed


@pytest.fixture(scope="module")
def attempts(cluster: Cluster) -> dict[str, str]:
    """What a program that has taken over a connection of acme can do: its unit, with another program in it."""
    node = cluster.node("hsm1")
    node.shell(
        """
        unit=/run/systemd/system/keyfold-probe.service
        sed -e '/^StandardInput=/d' -e 's,^ExecStart=.*,ExecStart=/usr/bin/python3 /usr/local/lib/keyfold-probe.py,' \
          -e 's,^StandardOutput=.*,StandardOutput=truncate:/run/keyfold-probe.json,' -e '/^CollectMode/d' \
          /etc/systemd/system/keyfold-partition-acme@.service >$unit
        sed -i 's/^.Service.$/&\\nType=oneshot/' $unit
        mkdir -p /usr/local/lib && cat >/usr/local/lib/keyfold-probe.py
        systemctl daemon-reload
        """,
        stdin=client("sandbox_probe.py"),
    )
    with Held(cluster.app, "hsm1", issued("partition-noisy")):
        node.run("systemctl", "start", "keyfold-probe.service")
    said: dict[str, str] = json.loads(node.run("cat", "/run/keyfold-probe.json"))
    node.shell("rm /run/systemd/system/keyfold-probe.service /usr/local/lib/keyfold-probe.py; systemctl daemon-reload")
    return said


@pytest.mark.parametrize(
    "attempt",
    [
        "list another's directory",
        "connect to another's socket",
        "connect to its own socket",
        "read the node's keys",
        "read the system PIN",
        "replace its softhsm2.conf",
        "write beside its tokens",
        "connect to the network",
        "connect to haproxy's master",
        "fork",
        "raise its own limits",
        "see another's processes",
        "become root",
    ],
)
def test_a_connection_that_was_taken_over_stays_in_its_partition(attempts: dict[str, str], attempt: str) -> None:
    assert attempts[attempt] != "done", attempts


def test_it_can_do_its_own_work_all_the_same(attempts: dict[str, str]) -> None:
    """So that the refusals above are not those of a program that could do nothing at all."""
    assert attempts["list its own tokens"] == "done"
    assert attempts["write a token file"] == "done"


def test_the_agent_goes_by_who_asks_not_by_what_is_said(attempts: dict[str, str]) -> None:
    assert attempts["commit to another partition"].startswith("done: its own revision")
    assert attempts["list another's objects"] == "denied"


def limits(node: Machine, user: str) -> dict[str, Any]:
    pid = node.run("pgrep", "-n", "-u", user, "p11-kit").strip()
    shown = node.run("cat", f"/proc/{pid}/limits")
    values = {line[:26].strip(): line[26:].split()[0] for line in shown.splitlines()[1:]}
    status = dict(line.split(":", 1) for line in node.run("cat", f"/proc/{pid}/status").splitlines())
    nice = int(node.run("ps", "-o", "ni=", "-p", pid))
    cgroup = node.run("systemctl", "show", "-p", "Slice", "--value", node.run("ps", "-o", "unit=", "-p", pid).strip())
    return {"limits": values, "status": status, "nice": nice, "slice": cgroup.strip()}


@pytest.mark.parametrize(
    ("partition", "nice", "files", "memory", "slice_"),
    [
        ("acme", 5, "256", "268435456", "keyfold-partition-acme.slice"),
        ("noisy", 10, "256", "268435456", "keyfold-partition-noisy.slice"),
        ("acme-labs", 5, "256", "268435456", r"keyfold-partition-acme\x2dlabs.slice"),
    ],
)
def test_a_connections_process_has_the_limits_of_its_package(
    cluster: Cluster, partition: str, nice: int, files: str, memory: str, slice_: str
) -> None:
    node = cluster.node("hsm1")
    with Held(cluster.app, "hsm1", issued(f"partition-{partition}")) as held:
        assert held.open == 1
        found = limits(node, f"kf-{partition}")
    assert (found["nice"], found["slice"]) == (nice, slice_)
    assert found["limits"]["Max open files"] == files
    assert found["limits"]["Max data size"] == memory
    assert found["status"]["Seccomp"].strip() == "2"
    assert found["status"]["NoNewPrivs"].strip() == "1"
    assert int(found["status"]["CapBnd"], 16) == 0
