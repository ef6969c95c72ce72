"""No secret is anywhere to be found after a run with -vvv: output, log, argv, environment, temporary files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.parsing.vault import VaultLib, VaultSecret

PASSWORD = "vault-password-8233"


def test_secrets_leave_no_trace_under_vvv(playbook: Any, fake: Any, people: Any, tmp_path: Path) -> None:
    genesis, password = (tmp_path / name for name in ("genesis.vault", "password"))
    password.write_text(PASSWORD)
    fake.set(cluster=None)
    opened = f"lookup('keyfold_genesis', '{genesis}', password_file='{password}')"
    tasks = [
        {"name": "Genesis", "keyfold_genesis": {"path": str(genesis), "password_file": str(password)}},
        {
            "name": "Found",
            "keyfold_ceremony": {
                "name": "test",
                "uuid": "{{ " + opened + ".cluster_uuid }}",
                "directory": str(tmp_path / "custody"),
                "custodians": people.declared,
                "threshold": 2,
                "command": str(fake.command),
            },
        },
        {
            "name": "Rotate",
            "keyfold_backup_key": {
                "share_files": [
                    str(tmp_path / f"custody/share-{n}-of-3-{who}.age") for n, who in ((1, "ann"), (3, "cem"))
                ],
                "identity_files": [str(people.keys[who]) for who in ("ann", "cem")],
                "from_epoch": 1,
                "command": str(fake.command),
            },
            "register": "founded",
        },
        {"name": "Show all that was registered", "ansible.builtin.debug": {"var": "founded"}},
    ]
    done = playbook.run(tasks, "-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    sealed = VaultLib([(None, VaultSecret(PASSWORD.encode()))]).decrypt(genesis.read_bytes())
    opened_genesis = json.loads(sealed)
    secrets = [
        PASSWORD,
        *people.shares(tmp_path / "custody"),
        people.root(tmp_path / "custody"),
        opened_genesis["system_pin"],
    ]
    traces = {
        "output": done.stdout + done.stderr,
        "argv and environment": fake.calls_log.read_text(),
        **{
            str(path): path.read_bytes().decode(errors="replace")
            for path in playbook.directory.rglob("*")
            if path.is_file()
        },
    }
    assert "ansible.log" in "".join(traces)
    assert fake.state["rotated_with"] == fake.state["root_digest"]
    found = {(place, secret) for place, text in traces.items() for secret in secrets if secret in text}
    assert found == set()


def test_the_genesis_file_is_readable_by_its_owner_only(playbook: Any, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    genesis = tmp_path / "new/genesis.vault"
    done = playbook.run([{"keyfold_genesis": {"path": str(genesis), "password_file": str(password)}}])
    assert done.returncode == 0, done.stdout
    assert genesis.stat().st_mode & 0o777 == 0o600
    assert genesis.parent.stat().st_mode & 0o777 == 0o700
