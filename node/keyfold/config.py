"""Node configuration: /etc/keyfold/keyfold.toml (docs/interfaces.md §2). It holds no secrets."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from keyfold.errors import KeyfoldError
from keyfold.package import SELF_SERVICE_CONNECTIONS, Package, parse_package
from keyfold.store.config import StoreConfig

__all__ = ["CONFIG_PATH", "CREDENTIALS_PATH", "Config", "Package", "StoreAccess", "credential", "load"]

CONFIG_PATH = Path("/etc/keyfold/keyfold.toml")
CREDENTIALS_PATH = Path("/etc/keyfold/credentials")


@dataclass(frozen=True, slots=True)
class StoreAccess:
    """The WebDAV store as this node reaches it; `None` in `Config` on nodes outside the backup site."""

    url: str
    ca: Path
    writer_cert: Path
    writer_key: Path
    reader_cert: Path
    reader_key: Path


@dataclass(frozen=True, slots=True)
class Config:
    cluster_uuid: str
    cluster_name: str
    node: str
    site: str
    site_role: str
    etcd: StoreConfig
    store: StoreAccess | None
    packages: Mapping[str, Package]
    state: Path = Path("/var/lib/keyfold")
    run: Path = Path("/run/keyfold")

    @property
    def agent_socket(self) -> Path:
        return self.run / "agent.sock"

    @property
    def callers_per_partition(self) -> int:
        """How many processes of one partition may ask the agent at a time: each of the largest package's, one question.

        Those of its self-service ask, too.
        """
        largest = max((package.max_connections for package in self.packages.values()), default=0)
        return largest + SELF_SERVICE_CONNECTIONS

    def partition_directory(self, name: str) -> Path:
        return self.state / "partitions" / name


def load(path: Path = CONFIG_PATH) -> Config:
    """Read the configuration; a missing file or key is a KeyfoldError `invalid` that names it."""
    try:
        return _parse(tomllib.loads(path.read_text(encoding="utf-8")))
    except (OSError, tomllib.TOMLDecodeError) as error:
        raise _unusable(path, str(error)) from error
    except KeyError as error:
        raise _unusable(path, f"the key {error} is missing") from error
    except ValueError as error:
        raise _unusable(path, str(error)) from error


def _unusable(path: Path, reason: str) -> KeyfoldError:
    return KeyfoldError(
        "invalid",
        f"the configuration {path} cannot be used: {reason}",
        not_done="nothing was started or changed",
        next_step="write it with: ansible-playbook playbooks/site.yml --limit this node",
    )


def _parse(raw: Mapping[str, Any]) -> Config:
    etcd, node, store = raw["etcd"], raw["node"], raw.get("store")
    return Config(
        cluster_uuid=raw["cluster"]["uuid"],
        cluster_name=raw["cluster"]["name"],
        node=node["name"],
        site=node["site"],
        site_role=node["site_role"],
        etcd=StoreConfig(tuple(etcd["endpoints"]), *(_path(etcd.get(key)) for key in ("ca", "cert", "key"))),
        store=None
        if store is None
        else StoreAccess(
            store["url"],
            *(Path(store[key]) for key in ("ca", "writer_cert", "writer_key", "reader_cert", "reader_key")),
        ),
        packages={name: parse_package(name, row) for name, row in raw.get("packages", {}).items()},
        **{key: Path(value) for key, value in raw.get("paths", {}).items() if key in ("state", "run")},
    )


def _path(value: str | None) -> Path | None:
    return None if value is None else Path(value)


def credential(name: str) -> str:
    """A secret of this node: the unit's systemd credential, else the file it is loaded from (root only).

    The file itself is for commands outside a unit, and for containers in which systemd cannot mount credentials.
    """
    places = (Path(os.environ.get("CREDENTIALS_DIRECTORY", CREDENTIALS_PATH)), CREDENTIALS_PATH)
    try:
        path = next((place / name for place in places if (place / name).exists()), CREDENTIALS_PATH / name)
        return path.read_text(encoding="ascii").strip()
    except OSError as error:
        raise KeyfoldError(
            "not_found",
            f"the credential {name} cannot be read from {CREDENTIALS_PATH}: {error.strerror}",
            not_done="the cluster's own keys were not opened",
            next_step="install it with: ansible-playbook playbooks/site.yml --limit this node",
        ) from error
