"""The cluster's secrets, and where on a machine they can be found."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

from ansible.parsing.vault import VaultLib, VaultSecret

from keyfold_shares import Entered, expected, recover, words_of
from lab.handover import user_pin
from scenario.machines import Machine, controller_directory

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


def known_secrets() -> list[str]:
    """Users' PINs, system PIN, the CA's passphrase, the root and every share of it. SO PINs are known to no one here.

    The custodians of a scenario are made up, so their keys are here to open what is sealed to them.
    """
    home = controller_directory()
    values = [user_pin(home, path.name.removesuffix(".user.age")) for path in (home / "handover").glob("*.user.age")]
    password = (home / "vault-password").read_text().strip()
    vault = VaultLib([(None, VaultSecret(password.encode()))])
    genesis = json.loads(vault.decrypt((home / "genesis.vault").read_bytes()))
    assert values
    return [*values, genesis["system_pin"], password, *root_and_shares(home)]


def root_and_shares(home: Path) -> list[str]:
    """The root in hex, and the words of each share in one line."""
    # Scenario rebuild's custodians have taken theirs home.
    shares = next(path for path in (home / "custody", home / "taken-home") if path.exists())
    record = json.loads((shares / "custody.json").read_text())
    identities = [word for key in sorted((home / "custodians").glob("*.key")) for word in ("-i", str(key))]
    entered = []
    for sealed in sorted(shares.glob("*.age")):
        opened = subprocess.run(["age", "-d", *identities, sealed], capture_output=True, text=True, check=True)
        entered.append(Entered(sealed.name, opened.stdout))
    root = recover(entered, expected(record["cluster_uuid"], record))
    return [root.hex(), *(" ".join(words_of(one)) for one in entered)]


def where(machine: Machine, needles: list[str]) -> set[str]:
    """Files, processes and the journal that hold one of them; only names, never what was found."""
    return set(json.loads(machine.run("python3", "-c", SEARCH, stdin=json.dumps(needles), seconds=120)))
