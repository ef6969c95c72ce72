"""The canary: the cluster's own partition, mirrored and backed up as any other, whose restored key a drill signs with.

Subscribers' keys cannot be used without their PINs. The canary's first PIN is sealed, as every partition's, and the
subscriber it is sealed to is the cluster: an age key that follows from a signature of the manifest key of epoch 1
(Ed25519 is deterministic, RFC 8032 §5.1.6), so that every node can open it, and a rebuilt cluster still can.
"""

from __future__ import annotations

import hashlib
import subprocess
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from keyfold.backup import bech32
from keyfold.backup.cluster import Agent
from keyfold.clock import Clock, stamp
from keyfold.config import Config
from keyfold.drill.hsm import Hsm
from keyfold.errors import KeyfoldError
from keyfold.jobs.hold import held
from keyfold.package import Package

PARTITION = "keyfold-canary"
RECORD_KIND = "canary"
EPOCH = 1

_DOMAIN = b"keyfold canary age key v1\0"
_WAIT_SECONDS = 120.0
_PAUSE_SECONDS = 0.5
_AGE_SECONDS = 20.0

Sign = Callable[[bytes, int], bytes]
"""Ed25519 signature (64 bytes) of the manifest key of an epoch."""


def _secret(sign: Sign, cluster_uuid: str) -> bytes:
    return hashlib.sha256(sign(_DOMAIN + cluster_uuid.encode(), EPOCH)).digest()


def recipient(sign: Sign, cluster_uuid: str) -> str:
    """Whom the canary's first PIN is sealed to: an age X25519 recipient (https://age-encryption.org/v1)."""
    secret = _secret(sign, cluster_uuid)
    return bech32.encode("age", X25519PrivateKey.from_private_bytes(secret).public_key().public_bytes_raw())


def pin(agent: Agent, sign: Sign, cluster_uuid: str) -> str:
    """The canary's user PIN. KeyfoldError `not_found`: there is no canary; `denied`: it is sealed to somebody else."""
    sealed = agent.call("partition_handover", partitions=[PARTITION])["handover"][PARTITION]["user"]
    identity = bech32.encode("age-secret-key-", _secret(sign, cluster_uuid)).upper()
    with tempfile.NamedTemporaryFile("w", suffix=".age") as file:
        file.write(sealed)
        file.flush()
        done = subprocess.run(
            ["age", "--decrypt", "--identity", "-", file.name],
            input=identity + "\n",
            capture_output=True,
            text=True,
            check=False,
            timeout=_AGE_SECONDS,
        )
    if done.returncode != 0:
        raise KeyfoldError(
            "denied",
            f"the first PIN of {PARTITION} is not sealed to this cluster",
            not_done="the canary's key was not used",
            next_step="keyfold partition handover keyfold-canary: was it made by hand?",
        )
    return done.stdout.strip()


def package_of(packages: Mapping[str, Package]) -> Package:
    """The smallest package whose partitions are backed up. KeyfoldError `invalid` if there is none."""
    backed_up = [one for one in packages.values() if one.backup != "never"]
    if not backed_up:
        raise KeyfoldError(
            "invalid",
            "no package of this node includes backups, so no canary can be backed up",
            not_done="no canary was made",
            next_step="add a package with backup: always to node_packages, and run: playbooks/site.yml",
        )
    return min(backed_up, key=lambda one: (one.backup != "always", one.max_size_bytes, one.name))


class Canary:
    """Makes the canary, once per cluster; safe to repeat after an interruption at any point."""

    def __init__(self, agent: Agent, config: Config, clock: Clock, sign: Sign, hsm: Hsm) -> None:
        self._agent = agent
        self._config = config
        self._clock = clock
        self._sign = sign
        self._hsm = hsm

    def ready(self) -> bool:
        """Whether there is nothing to make."""
        row = self._row()
        return row is not None and row["uuid"] in self._records()

    def prepare(self) -> bool:
        """Whether something was made. KeyfoldError `conflict`: another node is at it; the agent's and SoftHSM's."""
        if self.ready():
            return False
        with held(self._agent, self._clock, "drill"):
            row = self._row() or self._declare()
            home = self._await(row)
            opened = pin(self._agent, self._sign, self._config.cluster_uuid)
            public_key = self._hsm.make_key(home, PARTITION, opened)
            value = {"partition": PARTITION, "public_key": public_key.hex(), "created": stamp(self._clock.utc())}
            self._agent.call("record_put", kind=RECORD_KIND, id=row["uuid"], value=value)
        return True

    def _row(self) -> dict[str, Any] | None:
        rows = self._agent.call("partition_list")["partitions"]
        return next((row for row in rows if row["name"] == PARTITION), None)

    def _records(self) -> dict[str, Any]:
        records: dict[str, Any] = self._agent.call("record_list", kind=RECORD_KIND)["records"]
        return records

    def _declare(self) -> dict[str, Any]:
        package = package_of(self._config.packages)
        declared = {
            "name": PARTITION,
            "package": package.name,
            "policy": {},
            "subscriber_key": recipient(self._sign, self._config.cluster_uuid),
            **({"backup": True} if package.backup == "order" else {}),
        }
        self._agent.call("partition_apply", partitions=[declared], approvals=[], check=False)
        row = self._row()
        if row is None:
            raise _absent("the agent took the canary's declaration and does not list it")
        return row

    def _await(self, row: Mapping[str, Any]) -> Path:
        """Until this node has the partition's token, its configuration and its policy."""
        home = self._config.partition_directory(PARTITION)
        needed = (
            home / "softhsm2.conf",
            home / "tokens" / str(row["token_uuid"]) / "token.object",
            self._config.run / "policy" / PARTITION,
        )
        deadline = self._clock.monotonic() + _WAIT_SECONDS
        while not all(path.exists() for path in needed):
            if self._clock.monotonic() > deadline:
                raise _absent(f"the canary's partition did not come to this node within {_WAIT_SECONDS:.0f} s")
            self._clock.sleep(_PAUSE_SECONDS)
        return home


def _absent(what: str) -> KeyfoldError:
    return KeyfoldError(
        "not_found",
        what,
        not_done="the canary has no key yet",
        next_step="keyfold status; once this node is level run: keyfold drill prepare",
    )
