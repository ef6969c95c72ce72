"""On machines that are as the inventory says there is nothing to do, and a dry run says so."""

from __future__ import annotations

import os
import re
import subprocess

from scenario.machines import ROOT


def test_a_dry_run_of_the_finished_cluster_tells_no_change() -> None:
    done = subprocess.run(
        ["ansible-playbook", "--check", "--diff", "-i", "inventories/molecule", "molecule/default/converge.yml"],
        cwd=ROOT,
        env={**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible.cfg")},
        capture_output=True,
        text=True,
        check=False,
        timeout=900,
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    counts = dict(re.findall(r"^(\w+)\s+: ok=\d+\s+changed=(\d+)", done.stdout, re.MULTILINE))
    assert counts == dict.fromkeys(["app1", "hsm1", "hsm2", "hsm3", "store1"], "0"), done.stdout[-3000:]
