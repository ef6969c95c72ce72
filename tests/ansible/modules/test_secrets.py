"""No secret is anywhere to be found after a run with -vvv: output, log, argv, environment, temporary files."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ansible.parsing.vault import VaultLib, VaultSecret

DECLARED_PIN, DECLARED_SO_PIN = "declared-PIN-8231", "declared-SO-PIN-8232"
PASSWORD = "vault-password-8233"


def test_secrets_leave_no_trace_under_vvv(playbook: Any, fake: Any, people: Any, tmp_path: Path) -> None:
    pins, genesis, password = (tmp_path / name for name in ("pins", "genesis.vault", "password"))
    password.write_text(PASSWORD)
    fake.set(cluster=None)
    opened = f"lookup('keyfold_genesis', '{genesis}', password_file='{password}')"
    declarations = "{{ query('keyfold_initial_pins', *declared, existing=[], directory='" + str(pins) + "') }}"
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
        },
        {
            "name": "Declare",
            "keyfold_partition": {"partitions": declarations, "command": str(fake.command)},
            "vars": {
                "declared": [
                    {"name": "acme", "package": "ECO"},
                    {
                        "name": "globex",
                        "package": "ECO",
                        "initial_pin": DECLARED_PIN,
                        "initial_so_pin": DECLARED_SO_PIN,
                    },
                ]
            },
            "register": "declared_result",
        },
        {"name": "Show all that was registered", "ansible.builtin.debug": {"var": "declared_result"}},
        {
            "name": "Fail",
            "keyfold_partition": {"partitions": declarations, "command": str(fake.command)},
            "vars": {"declared": [{"name": "acme", "package": "GOLD"}, {"name": "late", "package": "ECO"}]},
            "ignore_errors": True,
        },
    ]
    done = playbook.run(tasks, "-vvv", "--diff")
    assert done.returncode == 0, done.stdout
    assert list(fake.state["partitions"]) == ["acme", "globex"]
    assert "there is no package 'GOLD'" in done.stdout

    sealed = VaultLib([(None, VaultSecret(PASSWORD.encode()))]).decrypt(genesis.read_bytes())
    opened_genesis = json.loads(sealed)
    drawn = [json.loads(path.read_text()) for path in pins.iterdir()]
    assert sorted(row["partition"] for row in drawn) == ["acme", "late"]
    secrets = [
        DECLARED_PIN,
        DECLARED_SO_PIN,
        PASSWORD,
        *people.shares(tmp_path / "custody"),
        people.root(tmp_path / "custody"),
        opened_genesis["system_pin"],
        *(row[key] for row in drawn for key in ("initial_pin", "initial_so_pin")),
    ]
    # The play declares two of them itself.
    (playbook.directory / "play.json").unlink()
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


def test_kept_secrets_are_readable_by_their_owner_only(playbook: Any, fake: Any, tmp_path: Path) -> None:
    password = tmp_path / "password"
    password.write_text(PASSWORD)
    query = "{{ query('keyfold_initial_pins', *[{'name': 'acme'}], existing=[], directory='%s') }}" % (
        tmp_path / "a/pins"
    )
    done = playbook.run(
        [
            {"keyfold_genesis": {"path": str(tmp_path / "b/genesis.vault"), "password_file": str(password)}},
            {"keyfold_partition": {"partitions": query, "command": str(fake.command)}, "ignore_errors": True},
        ]
    )
    assert done.returncode == 0, done.stdout
    for path in (tmp_path / "a/pins/acme.json", tmp_path / "b/genesis.vault"):
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
