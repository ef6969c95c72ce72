"""`site.yml --check --diff` on bare machines."""

from __future__ import annotations

import os
import re
import subprocess
from functools import partial

import pytest
from scenario.cluster import Cluster
from scenario.machines import ROOT, controller_directory, on_each

# All that a role could change: files, packages, accounts, units that run.
STATE = r"""
find /etc /usr /var/lib /opt /root /srv -xdev -type f -not -path '/var/lib/apt/*' -not -path '/root/.ansible/*' \
  -not -name '*.pyc' -printf '%p %m %u %s %T@\n' | sort | sha256sum
dpkg-query --show | sha256sum
sha256sum /etc/passwd /etc/group
systemctl list-units --type=service,socket,timer --state=active --no-legend --plain |
  grep -v '^user' | cut -d' ' -f1 | sort
"""


@pytest.fixture(scope="module")
def look(cluster: Cluster) -> partial[dict[str, str]]:
    return partial(on_each, (*cluster.nodes, cluster.store, cluster.app), "bash", "-c", STATE)


@pytest.fixture(scope="module")
def dry_run(look: partial[dict[str, str]]) -> tuple[dict[str, str], str]:
    """What the machines were before, and what the dry run printed."""
    before = look()
    done = subprocess.run(
        ["ansible-playbook", "-i", "inventories/molecule", "playbooks/site.yml", "--check", "--diff"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-6000:] + done.stderr[-2000:]
    return before, done.stdout


def test_the_dry_run_changes_nothing(dry_run: tuple[dict[str, str], str], look: partial[dict[str, str]]) -> None:
    assert look() == dry_run[0]


def test_a_change_would_have_been_seen(cluster: Cluster, look: partial[dict[str, str]]) -> None:
    before = look()
    cluster.app.shell("touch /etc/keyfold-was-here")
    try:
        assert look() != before
    finally:
        cluster.app.shell("rm /etc/keyfold-was-here")


def test_the_dry_run_leaves_nothing_on_the_controller(dry_run: tuple[dict[str, str], str]) -> None:
    home = controller_directory()
    left = {path.relative_to(home).parts[0] for path in home.rglob("*") if path.is_file()}
    # People who do not exist: what a throw-away inventory draws in place of what a real one says of them.
    people = {"vault-password", "custodians", "officers", "subscriber_key", "subscriber_key.pub", "subscriber_key.lock"}
    assert left - people == set()


@pytest.mark.parametrize("host", ["hsm1", "hsm2", "hsm3", "store1", "app1"])
def test_the_dry_run_says_that_every_machine_would_change(dry_run: tuple[dict[str, str], str], host: str) -> None:
    (recap,) = re.findall(rf"^{host}\s+: (.*)$", dry_run[1], re.MULTILINE)
    counts = dict(pair.split("=") for pair in recap.split())
    assert int(counts["changed"]) > 0
    assert (counts["failed"], counts["unreachable"]) == ("0", "0")


@pytest.mark.parametrize(
    ("host", "task"),
    [
        ("hsm1", "pki : Issue and renew certificates, sign the revocation list"),
        ("hsm2", "pki : Install certificates, keys and the revocation list"),
        ("hsm3", "etcd : Install packages"),
        ("hsm2", "node : Bring the package to the host"),
        ("hsm1", "node : Make the cluster's sealed genesis file"),
        ("hsm1", "node : Hold the genesis ceremony of a new cluster"),
        ("hsm1", "access : Install packages"),
        ("hsm1", "partition : Declare the partitions"),
        ("store1", "store : Configure Apache"),
        ("hsm3", "backup : Set when the timers run"),
        ("app1", "client : Install packages"),
    ],
)
def test_the_dry_run_tells_what_would_change(dry_run: tuple[dict[str, str], str], host: str, task: str) -> None:
    said = re.findall(rf"^TASK \[{re.escape(task)}\].*?(?=^TASK|^PLAY)", dry_run[1], re.MULTILINE | re.DOTALL)
    assert any(re.search(rf"^changed: \[{host}\b", block, re.MULTILINE) for block in said), said


def test_the_dry_run_shows_no_private_key(dry_run: tuple[dict[str, str], str]) -> None:
    assert "PRIVATE KEY-----" not in dry_run[1]
