"""etcd, where Keyfold's nodes agree: the interface, the client, and its twin in memory for tests."""

from __future__ import annotations

from keyfold.store.config import StoreConfig
from keyfold.store.interface import Store

__all__ = ["Store", "StoreConfig", "open_store"]


def open_store(config: StoreConfig) -> Store:
    """The store at these endpoints. Raises KeyfoldError `certificate` if the TLS files cannot be used."""
    from keyfold.store.etcd import EtcdStore  # here, so that the twin's users need no etcd client

    return EtcdStore(config)
