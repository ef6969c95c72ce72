"""Where etcd is and how this node shows who it is: the `[etcd]` table of keyfold.toml."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True, slots=True)
class StoreConfig:
    """`endpoints`: URLs, the local member first. The three PEM files are for `https` endpoints.

    The certificate has no common name: with authentication on, etcd's JSON gateway refuses one that has.
    """

    endpoints: tuple[str, ...]
    ca: Path | None = None
    cert: Path | None = None
    key: Path | None = None
