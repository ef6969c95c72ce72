"""The cluster's secrets, and where on a machine they can be found."""

from __future__ import annotations

import json

from ansible.parsing.vault import VaultLib, VaultSecret

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
    """Users' PINs, root, system PIN, the CA's passphrase. SO PINs are known to no one here."""
    home = controller_directory()
    values = [user_pin(home, path.name.removesuffix(".user.age")) for path in (home / "handover").glob("*.user.age")]
    password = (home / "vault-password").read_text().strip()
    vault = VaultLib([(None, VaultSecret(password.encode()))])
    genesis = json.loads(vault.decrypt((home / "genesis.vault").read_bytes()))
    assert values
    return [*values, genesis["root"], genesis["system_pin"], password]


def where(machine: Machine, needles: list[str]) -> set[str]:
    """Files, processes and the journal that hold one of them; only names, never what was found."""
    return set(json.loads(machine.run("python3", "-c", SEARCH, stdin=json.dumps(needles), seconds=120)))
