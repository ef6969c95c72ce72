"""etcd's semantics in memory: for tests, with faults to order. `MemoryEtcd` is the cluster, `MemoryStore` a client."""

from keyfold.store.memory.client import Fate, MemoryStore
from keyfold.store.memory.cluster import MemoryEtcd

__all__ = ["Fate", "MemoryEtcd", "MemoryStore"]
