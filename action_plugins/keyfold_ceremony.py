"""Ansible action: the genesis ceremony. Documentation: library/keyfold_ceremony.py.

An action and not a module: the root exists in this process only. It is drawn, split, its shares are sealed and written,
it goes over standard input to the node that derives the cluster's keys from it, and this process ends.

What a crash can leave: sealed shares in `<directory>.begun-<fingerprint>` whose root became no cluster (worthless), or
did, just before the directory got its name. The next run tells the two apart by the cluster's own record.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

# Ansible finds module_utils for what it sends to hosts, not for what runs here.
sys.path.append(str(Path(__file__).resolve().parents[1] / "module_utils"))
from keyfold_controller import ControllerError, Node, NodeAction, age
from keyfold_shares import MOST_SHARES, ROOT_BYTES, root_fingerprint, split
from keyfold_sheet import sheet

RECORD = "custody.json"
FORMAT = 1
_RECIPIENTS = ("age1", "ssh-ed25519 ", "ssh-rsa ")

ARGUMENT_SPEC: dict[str, Any] = {
    "name": {"type": "str", "required": True},
    "uuid": {"type": "str", "required": True},
    "directory": {"type": "path", "required": True},
    "custodians": {
        "type": "list",
        "elements": "dict",
        "required": True,
        "options": {"name": {"type": "str", "required": True}, "recipient": {"type": "str", "required": True}},
    },
    "threshold": {"type": "int", "required": True},
    "command": {"type": "path", "default": "/usr/bin/keyfold"},
}


class ActionModule(NodeAction):
    argument_spec = ARGUMENT_SPEC

    def act(self, node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
        """Hold the ceremony unless the cluster exists."""
        try:
            return _ceremony(node, options, check=check)
        except OSError as error:
            raise ControllerError(
                f"the shares could not be written: {error.strerror}: {error.filename}",
                not_done="no cluster was founded",
                next_step="correct it, and run the playbook again",
            ) from None


def _ceremony(node: Node, options: dict[str, Any], *, check: bool) -> dict[str, Any]:
    final = Path(options["directory"])
    cluster = node.cluster()
    if cluster is not None:
        return {"changed": _settle(final, cluster, options, check=check), "cluster": cluster, "directory": str(final)}
    _check(options)
    if (final / RECORD).exists():
        raise ControllerError(
            f"{final} has the shares of a cluster that was founded, but these nodes hold no cluster",
            not_done="no ceremony was held: a new root would be another cluster under the same UUID",
            next_step="a lost cluster comes back with playbooks/rebuild.yml; for a new one, move the whole directory "
            f"{final.parent} away",
        )
    identity = {key: options[key] for key in ("name", "uuid")}
    if check:
        return {"changed": True, "cluster": identity, "directory": str(final)}
    root = secrets.token_bytes(ROOT_BYTES)
    custody = _write_shares(final, root, options)
    # Where the answer is lost the shares stay: the next run sees whether the cluster is theirs.
    reply = node.run(["cluster", "init"], secrets={**identity, "root": root.hex(), "custody": custody})
    _settle(final, reply["cluster"], options, check=False)
    return {"changed": True, "cluster": reply["cluster"], "directory": str(final)}


def _check(options: dict[str, Any]) -> None:
    names = [row["name"] for row in options["custodians"]]
    recipients = [row["recipient"] for row in options["custodians"]]
    problem = ""
    if not 2 <= options["threshold"] <= len(names) <= MOST_SHARES:
        problem = f"{options['threshold']} of {len(names)} shares cannot be made (at least 2, at most {MOST_SHARES})"
    elif len(set(names)) != len(names) or len(set(recipients)) != len(names):
        problem = "two custodians have the same name or the same key"
    elif any(not name.replace("-", "").replace("_", "").isalnum() or len(name) > 24 for name in names):
        problem = "a custodian's name is part of a file's: letters, digits, - and _, at most 24"
    elif not all(recipient.startswith(_RECIPIENTS) for recipient in recipients):
        problem = "a custodian's key is neither an age nor an SSH public key (age1…, ssh-ed25519 …, ssh-rsa …)"
    if problem:
        raise ControllerError(
            problem, not_done="no root was made and no cluster was founded", next_step="correct node_custodians"
        )


def _write_shares(final: Path, root: bytes, options: dict[str, Any]) -> dict[str, Any]:
    """Every share is sealed and on disk, under a name of this attempt alone, before the root is used."""
    uuid, custodians = options["uuid"], options["custodians"]
    identifier, words = split(root, options["threshold"], len(custodians))
    custody = {
        "identifier": identifier,
        "threshold": options["threshold"],
        "shares": len(custodians),
        "root_fingerprint": root_fingerprint(root, uuid),
        "custodians": [{"number": number, **row} for number, row in enumerate(custodians, 1)],
        "created": datetime.now(UTC).isoformat().replace("+00:00", "Z"),
    }
    begun = _begun(final, custody)
    begun.mkdir(mode=0o700, parents=True)
    for number, (row, mnemonic) in enumerate(zip(custodians, words, strict=True), 1):
        page = sheet(custody, options["name"], uuid, number, mnemonic)
        sealed = age(["--armor", "-r", row["recipient"]], page.encode(), "no cluster was founded")
        _write(begun / f"share-{number}-of-{len(custodians)}-{row['name']}.age", sealed)
    record = {"format": FORMAT, "cluster_uuid": uuid, "cluster_name": options["name"], **custody}
    _write(begun / RECORD, (json.dumps(record, indent=1, sort_keys=True) + "\n").encode())
    _sync(begun)
    _sync(begun.parent)
    return custody


def _settle(final: Path, cluster: dict[str, Any], options: dict[str, Any], *, check: bool) -> bool:
    """Give the shares of the living cluster their final name, and remove those that became nothing."""
    if cluster["uuid"] != options["uuid"]:
        raise ControllerError(
            f"etcd holds another cluster: {cluster['name']}, {cluster['uuid']}",
            not_done="no cluster was founded",
            next_step="point this inventory at an etcd of its own, or use that cluster's own controller directory",
        )
    custody = cluster.get("custody")
    left = sorted(final.parent.glob(f"{final.name}.begun-*"))
    if custody is None or not left:
        return False
    ours = _begun(final, custody)
    if not final.exists() and not ours.exists():
        raise ControllerError(
            f"the cluster was founded by a ceremony whose shares are not in {final.parent}; those there are another's",
            not_done="nothing was changed, and no share was removed",
            next_step="find the controller that held the ceremony of "
            f"{custody['created']}; without its shares a lost cluster cannot be rebuilt",
        )
    if not check:
        if not final.exists():
            ours.rename(final)
            _sync(final.parent)
        for directory in left:
            shutil.rmtree(directory, ignore_errors=True)
    return True


def _begun(final: Path, custody: dict[str, Any]) -> Path:
    return final.with_name(f"{final.name}.begun-{custody['root_fingerprint'][:16]}")


def _write(path: Path, content: bytes) -> None:
    path.touch(mode=0o600, exist_ok=False)
    with path.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


def _sync(directory: Path) -> None:
    descriptor = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
