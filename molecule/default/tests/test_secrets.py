"""No secret of the cluster is anywhere but where it has to be: looked for on every machine and on the controller."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from scenario.application import Application
from scenario.cluster import Cluster
from scenario.machines import ROOT, Machine, controller_directory

# The one place on a node: what the agent's credential is loaded from.
ALLOWED = {"/etc/keyfold/credentials/system.pin"}

# Reads the needles from standard input, so that the search itself does not put them anywhere.
SEARCH = r"""
import json, os, subprocess, sys
needles = [needle.encode() for needle in json.load(sys.stdin)]
found = []
def look(name, data):
    if any(needle in data for needle in needles):
        found.append(name)
for top in ("/etc", "/var/log", "/tmp", "/root", "/run", "/var/lib/keyfold", "/var/lib/etcd", "/opt", "/home"):
    for folder, _, files in os.walk(top):
        for file in files:
            path = os.path.join(folder, file)
            try:
                if os.path.isfile(path) and not os.path.islink(path):
                    with open(path, "rb") as opened:
                        look(path, opened.read(64 << 20))
            except OSError:
                pass
for pid in filter(str.isdigit, os.listdir("/proc")):
    for part in ("cmdline", "environ"):
        try:
            with open(f"/proc/{pid}/{part}", "rb") as opened:
                look(f"/proc/{pid}/{part}", opened.read())
        except OSError:
            pass
journal = subprocess.run(["journalctl", "--no-pager", "--output=export"], capture_output=True, check=False)
look("the journal", journal.stdout)
print(json.dumps(found))
"""


@pytest.fixture(scope="module")
def secrets() -> list[str]:
    """PINs, SO PINs, root, system PIN, the CA's passphrase."""
    home = controller_directory()
    pins = [json.loads(path.read_text()) for path in (home / "pins").glob("*.json")]
    password = (home / "vault-password").read_text().strip()
    vault = VaultLib([(None, VaultSecret(password.encode()))])
    genesis = json.loads(vault.decrypt((home / "genesis.vault").read_bytes()))
    values = [value for row in pins for key, value in row.items() if "pin" in key]
    assert values
    return [*values, genesis["root"], genesis["system_pin"], password]


def where(machine: Machine, needles: list[str]) -> set[str]:
    return set(json.loads(machine.run("python3", "-c", SEARCH, stdin=json.dumps(needles), seconds=120)))


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
