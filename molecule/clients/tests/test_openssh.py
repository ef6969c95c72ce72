"""OpenSSH: a user CA whose key is in the cluster, and a real sshd that trusts it."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest
from scenario.machines import Machine
from scenario.shop import Shop, service
from scenario.waiting import wait_for

PORT = 2222


@pytest.fixture(scope="module")
def sshd(authority: Shop) -> Iterator[Machine]:
    """The machine's own sshd_config plus the page's file."""
    app = authority.machine
    authority.install("/etc/ssh/sshd_config.d/user_ca.conf")
    app.shell(
        """install -m 644 /srv/shop/user_ca.pub /etc/ssh/user_ca.pub; install -d /run/sshd
        id alice 2>/dev/null || useradd --create-home --shell /bin/bash alice"""
    )
    command = ["/usr/sbin/sshd", "-D", "-p", str(PORT), "-o", "ListenAddress=127.0.0.1"]
    with service(app, "shop-sshd", *command):
        listening = ["ss", "--no-header", "--listening", "--tcp", f"sport = :{PORT}"]
        wait_for(lambda: app.run(*listening), "sshd", 20)
        yield app


def login(shop: Shop, key: str, user: str = "alice") -> subprocess.CompletedProcess[str]:
    settings = ["BatchMode=yes", "ConnectTimeout=10", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    options = " ".join(f"-o {setting}" for setting in (*settings, "IdentitiesOnly=yes"))
    return shop.command(f"ssh {options} -p {PORT} -i {key} {user}@127.0.0.1 id --user --name", seconds=30)


def test_ssh_keygen_lists_the_partitions_public_keys(authority: Shop) -> None:
    comments = [line.split()[-1] for line in authority.run("ssh-list").splitlines() if line.startswith("ecdsa-")]
    assert {"web", "user-ca"} <= set(comments)


def test_sshd_lets_in_whom_the_clusters_key_certified_and_nobody_else(authority: Shop, sshd: Machine) -> None:
    # The same key without its certificate: refused. Another module's tests may have had one made.
    authority.machine.run("rm", "-f", "/srv/shop/alice-cert.pub")
    assert "Permission denied" in login(authority, "alice").stderr
    authority.run("ssh-sign")
    done = login(authority, "alice")
    assert done.stdout == "alice\n", done.stderr
    assert "Permission denied" in login(authority, "stranger").stderr
    # The certificate is for alice.
    assert "Permission denied" in login(authority, "alice", user="root").stderr
