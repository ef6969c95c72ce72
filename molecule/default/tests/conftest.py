"""The playbook once more, as loud as it gets, while it has secrets to handle."""

from __future__ import annotations

import json
import os
import subprocess

import pytest
from cryptography import x509
from scenario.cluster import Cluster
from scenario.identities import Identity, issued
from scenario.machines import ROOT

PARTITIONS = [
    {"name": name, "package": package, "subscriber_key": "{{ keyfold_lab_subscriber_key }}"}
    for name, package in (("acme", "ECO"), ("globex", "SBX"), ("initech", "SBX"))
]


@pytest.fixture(scope="session")
def revoked() -> Identity:
    """Who globex was before the loud run, which revokes it."""
    return issued("partition-globex")


@pytest.fixture(scope="session")
def loud_run(cluster: Cluster, revoked: Identity) -> str:
    """What it printed. It adds a partition, with PINs, and issues a certificate anew in place of `revoked`;
    and an application has logged in.
    """
    assert revoked.certificate is not None
    serial = x509.load_pem_x509_certificate(revoked.certificate.encode()).serial_number
    variables = {"keyfold_partitions": PARTITIONS, "pki_revoked": [f"{serial:040x}"]}
    with cluster.subscriber() as application:
        application.call("generate_secret", label="after-login")
    command = ["ansible-playbook", "-vvv", "--diff", "-i", "inventories/molecule", "playbooks/site.yml"]
    done = subprocess.run(
        [*command, "--extra-vars", json.dumps({**variables, "client_partitions": ["acme", "globex"]})],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:]
    return done.stdout + done.stderr
