"""No secret of the cluster is anywhere but where it has to be: looked for on every machine and on the controller."""

from __future__ import annotations

import os
import subprocess

import pytest
from scenario.application import Application
from scenario.cluster import Cluster
from scenario.leaks import ALLOWED, known_secrets, where
from scenario.machines import ROOT


@pytest.fixture(scope="module")
def secrets() -> list[str]:
    return known_secrets()


@pytest.fixture(scope="module")
def loud_run(cluster: Cluster) -> str:
    """The playbook once more, as loud as it gets, and an application that logged in."""
    with cluster.subscriber() as application:
        assert isinstance(application, Application)
        application.call("generate_secret", label="after-login")
    done = subprocess.run(
        ["ansible-playbook", "-vvv", "--diff", "-i", "inventories/molecule", "playbooks/site.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout + done.stderr


def test_the_loudest_playbook_run_shows_no_secret(loud_run: str, secrets: list[str]) -> None:
    assert [secret[:2] for secret in secrets if secret in loud_run] == []


@pytest.mark.parametrize("host", ["hsm1", "hsm2", "hsm3", "store1", "app1"])
def test_no_machine_keeps_a_secret_anywhere_else(
    cluster: Cluster, loud_run: str, secrets: list[str], host: str
) -> None:
    machine = next(known for known in (*cluster.nodes, cluster.store, cluster.app) if known.name == host)
    assert where(machine, secrets) - ALLOWED == set()


def test_the_search_finds_what_is_there(cluster: Cluster, secrets: list[str]) -> None:
    cluster.app.run("tee", "/var/log/planted", stdin=f"login with {secrets[0]}\n")
    try:
        assert where(cluster.app, secrets) == {"/var/log/planted"}
    finally:
        cluster.app.run("rm", "/var/log/planted")
    assert where(cluster.node("hsm1"), secrets) == ALLOWED


def test_the_controllers_logs_hold_no_secret(loud_run: str, secrets: list[str]) -> None:
    for log in (ROOT / ".keyfold/logs").glob("molecule-default*"):
        text = log.read_text(errors="replace")
        assert [secret[:2] for secret in secrets if secret in text] == [], log
