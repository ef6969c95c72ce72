#!/usr/bin/env python3
"""The inventory of a Molecule scenario: inventories/local with the scenario's container names.

Molecule says in MOLECULE_SCENARIO_NAME which scenario it is. The variables are inventories/local's too (group_vars).
"""

import json
import os
import sys
from pathlib import Path

import yaml

ROOT = Path(__file__).resolve().parents[2]


def _packages() -> dict[str, str]:
    dist = ROOT / ".keyfold/dist"
    return {
        "node_deb": str(dist / "keyfold-node.deb"),
        "store_deb": str(dist / "keyfold-node.deb"),
        "client_subscriber_deb": str(dist / "keyfold-subscriber.deb"),
    }


def _timers() -> dict[str, str]:
    """In no night does a backup come into a test's way; who wants one says so (scenario.timers)."""
    never = "*-02-29 12:00:00"
    names = ("backup_on_calendar", "backup_drill_on_calendar", "backup_media_on_calendar", "store_expiry_schedule")
    return dict.fromkeys(names, never)


def inventory(scenario: str) -> dict[str, object]:
    """Groups and host variables, in the form an inventory script prints."""
    local = yaml.safe_load((ROOT / "inventories/local/hosts.yml").read_text())["all"]
    # A scenario's converge.yml lies deeper than playbooks/, so what is found relative to those is named here.
    variables = {**local["vars"], **_packages(), **_timers()}
    groups: dict[str, object] = {"all": {"vars": variables, "children": list(local["children"])}}
    hostvars: dict[str, dict[str, str]] = {}
    for name, group in local["children"].items():
        groups[name] = {"hosts": list(group["hosts"])}
        for host, variables in group["hosts"].items():
            hostvars[host] = {**variables, "ansible_host": f"keyfold-{scenario}-{host}"}
    return {**groups, "_meta": {"hostvars": hostvars}}


if __name__ == "__main__":
    if "MOLECULE_SCENARIO_NAME" not in os.environ:
        sys.exit("MOLECULE_SCENARIO_NAME is not set, so no hosts were listed; run lab/scenario.sh NAME")
    print(json.dumps(inventory(os.environ["MOLECULE_SCENARIO_NAME"]), indent=2))
