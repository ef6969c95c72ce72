"""No secret of the cluster is anywhere but where it has to be: looked for on every machine and on the controller."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from ansible.parsing.vault import VaultLib, VaultSecret
from scenario.cluster import Cluster
from scenario.leaks import ALLOWED, known_secrets, root_and_shares, where
from scenario.machines import ROOT, controller_directory


@pytest.fixture(scope="module")
def secrets(loud_run: str) -> list[str]:
    """After the loud run, so with those that it made."""
    assert loud_run
    values = known_secrets()
    assert len(values) >= 11, "of each of three partitions a PIN; system PIN, passphrase, root, five shares"
    return values


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
    logs = [path for path in (ROOT / ".keyfold/logs").rglob("*") if path.is_file()]
    assert logs
    for log in logs:
        text = log.read_text(errors="replace")
        assert [secret[:2] for secret in secrets if secret in text] == [], log


def test_facts_are_not_kept(loud_run: str) -> None:
    """Ansible's own default, in memory: there is no file that could hold a secret."""
    shown = subprocess.run(
        ["ansible-config", "dump", "--format", "json"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=True,
    )
    (plugin,) = [row["value"] for row in json.loads(shown.stdout) if row.get("name") == "CACHE_PLUGIN"]
    assert plugin == "memory"


def test_after_the_ceremony_no_file_on_the_controller_holds_the_root_or_an_open_share(secrets: list[str]) -> None:
    home = controller_directory()
    root, *shares = root_and_shares(home)
    needles = [needle.encode() for needle in (root, *shares)] + [bytes.fromhex(root)]
    files = [path for path in home.rglob("*") if path.is_file()]
    assert len(files) > 10
    assert [path for path in files for needle in needles if needle in path.read_bytes()] == []
    password = (home / "vault-password").read_text().strip()
    vault = VaultLib([(None, VaultSecret(password.encode()))])
    assert set(json.loads(vault.decrypt((home / "genesis.vault").read_bytes()))) == {"cluster_uuid", "system_pin"}
    assert [path.name for path in home.glob("custody.begun-*")] == []
