"""The expirer's configuration, /etc/keyfold/expiry.toml (docs/interfaces.md §2): no secrets, one public key."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfold.backup.manifest import Cluster
from keyfold.errors import KeyfoldError

PATH = Path("/etc/keyfold/expiry.toml")
STATE = Path("/var/lib/keyfold-expiry")


@dataclass(frozen=True, slots=True)
class Settings:
    """`cluster.signing_public_key` was pinned at installation; `released`: partitions whose last copies may go."""

    cluster: Cluster
    url: str
    ca: Path
    cert: Path
    key: Path
    released: tuple[str, ...] = ()
    state: Path = STATE


def load(path: Path = PATH) -> Settings:
    """KeyfoldError `invalid`, which names what is wrong with the file."""
    try:
        return _parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except KeyError as error:
        raise _unusable(path, f"the key {error} is missing") from error
    except (OSError, ValueError, TypeError) as error:
        raise _unusable(path, str(error)) from error


def _parse(raw: Mapping[str, Any]) -> Settings:
    store = raw["store"]
    key = bytes.fromhex(raw["cluster"]["signing_public_key"])
    older = tuple(bytes.fromhex(one) for one in raw["cluster"].get("older_signing_public_keys", ()))
    if any(len(one) != 32 for one in (key, *older)):
        raise ValueError("a signing_public_key is not 32 bytes in hex")
    return Settings(
        Cluster(str(raw["cluster"]["uuid"]), key, older),
        str(store["url"]),
        Path(store["ca"]),
        Path(store["cert"]),
        Path(store["key"]),
        released=tuple(str(name) for name in raw.get("released_partitions", ())),
        state=Path(raw.get("state", STATE)),
    )


def _unusable(path: Path, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        f"the configuration {path} cannot be used: {reason}",
        not_done="nothing was removed from the store",
        next_step="write it with: ansible-playbook playbooks/site.yml --limit this host",
    )
