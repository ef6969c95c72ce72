"""A scenario's machines are inventories/local's under other container names."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = [sys.executable, "inventories/molecule/hosts.py"]


def test_a_scenario_has_the_local_inventorys_groups_and_hosts() -> None:
    environment = {**os.environ, "MOLECULE_SCENARIO_NAME": "restore"}
    done = subprocess.run(SCRIPT, cwd=ROOT, env=environment, capture_output=True, text=True, check=True)
    scenario = json.loads(done.stdout)
    local = yaml.safe_load((ROOT / "inventories/local/hosts.yml").read_text())["all"]
    for group, content in local["children"].items():
        assert scenario[group]["hosts"] == list(content["hosts"])
        for host, variables in content["hosts"].items():
            expected = {**variables, "ansible_host": f"keyfold-restore-{host}"}
            assert scenario["_meta"]["hostvars"][host] == expected


def test_without_a_scenario_it_lists_nothing_and_says_what_to_run() -> None:
    environment = {name: value for name, value in os.environ.items() if name != "MOLECULE_SCENARIO_NAME"}
    done = subprocess.run(SCRIPT, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert done.stdout == ""
    assert "lab/scenario.sh" in done.stderr
