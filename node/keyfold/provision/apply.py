"""Make this node match `partitions.json`: the body of keyfold-provision.service (root, oneshot)."""

from __future__ import annotations

import grp
import json
import os
import pwd
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path

from keyfold.custody.conf import write_softhsm2_conf
from keyfold.errors import KeyfoldError
from keyfold.package import Package
from keyfold.partition.policy import SYSTEM
from keyfold.provision import plan

_DIRECTORY_MODE = 0o700


def provision(state: Path, packages: Mapping[str, Package]) -> list[str]:
    """Idempotent; returns what it changed, for the journal. KeyfoldError `internal` names a command that failed.

    However many partitions changed: users are made once, units read once, sockets started and HAProxy reloaded once.
    Connections that are open keep the limits they began with; nothing that a partition has running is restarted.
    """
    rows = json.loads((state / "agent" / "partitions.json").read_text(encoding="utf-8"))["partitions"]
    partitions = plan.packages(rows, packages)
    haproxy = plan.HAPROXY.parent.is_dir()
    wanted = plan.files(
        partitions,
        state,
        haproxy=haproxy,
        socket_group="haproxy" if _has_group("haproxy") else "root",
    )
    changed = [path for path, text in wanted.items() if _write(path, text)]
    changed += [path for path, target in plan.links(partitions, haproxy=haproxy).items() if _link(path, target)]
    if plan.SYSUSERS in changed:
        _run("systemd-sysusers", str(plan.SYSUSERS))
    for name in (SYSTEM, *partitions):
        try:
            _home(state, name, partitions[name].mechanisms if name != SYSTEM else ())
        except (OSError, KeyError, KeyfoldError) as error:
            # The directory is its user's to spoil; the other partitions are not to wait for it.
            print(f"partition {name}: not provisioned: {error}", file=sys.stderr)
    if any(plan.UNIT_DIRECTORY in path.parents for path in changed):
        _run("systemctl", "daemon-reload")
    if idle := _not_listening([path.name for path in plan.links(partitions, haproxy=haproxy)]):
        _run("systemctl", "start", *idle)
    if plan.HAPROXY in changed and _not_listening(["haproxy.service"]) == []:
        _run("systemctl", "reload", "haproxy.service")
    return [str(path) for path in changed]


def _write(path: Path, text: str) -> bool:
    """Replace the file whole; False if it already said so."""
    try:
        if path.read_text(encoding="utf-8") == text:
            return False
    except FileNotFoundError:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fresh = path.with_name(path.name + ".new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(0o644)
    fresh.rename(path)
    return True


def _link(path: Path, target: Path) -> bool:
    if path.is_symlink():
        return False
    path.parent.mkdir(mode=0o755, exist_ok=True)
    path.symlink_to(target)
    return True


def _home(state: Path, name: str, mechanisms: Sequence[str]) -> None:
    """The partition's directory; softhsm2.conf in it belongs to root."""
    home = state / "partitions" / name
    owner = _Owner(0, 0) if name == SYSTEM else _Owner.of(plan.user(name))
    home.parent.mkdir(parents=True, exist_ok=True)
    home.parent.chmod(0o711)
    for path in (home, home / "tokens"):
        _own_directory(path, owner)
    for lock in ("create.lock", "update.lock", "login.lock"):
        descriptor = os.open(home / lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        os.fchown(descriptor, owner.uid, owner.gid)
        os.close(descriptor)
    write_softhsm2_conf(home, ",".join(mechanisms) or None)


class _Owner:
    def __init__(self, uid: int, gid: int) -> None:
        self.uid, self.gid = uid, gid

    @classmethod
    def of(cls, user: str) -> _Owner:
        entry = pwd.getpwnam(user)
        return cls(entry.pw_uid, entry.pw_gid)


def _own_directory(path: Path, owner: _Owner) -> None:
    """Make it, or take the one that is there.

    Its parent may be the partition's user's, who could have put a symbolic link to another's directory in its place:
    nothing but a directory itself changes hands.
    """
    path.mkdir(mode=_DIRECTORY_MODE, exist_ok=True)
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fchown(descriptor, owner.uid, owner.gid)
    finally:
        os.close(descriptor)


def _has_group(name: str) -> bool:
    try:
        grp.getgrnam(name)
    except KeyError:
        return False
    return True


def _not_listening(units: Sequence[str]) -> list[str]:
    """Those of the units that are not active."""
    if not units:
        return []
    done = subprocess.run(["systemctl", "is-active", *units], capture_output=True, text=True, check=False)
    states = done.stdout.split()
    return [unit for unit, state in zip(units, states, strict=True) if state not in ("active", "reloading")]


def _run(*command: str) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise KeyfoldError(
            "internal",
            f"{' '.join(command[:3])} failed: {done.stderr.strip()}",
            not_done="the node's partitions are not all provisioned",
            next_step="journalctl -u keyfold-provision; then systemctl restart keyfold-agent",
        )
