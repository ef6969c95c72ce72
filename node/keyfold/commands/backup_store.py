"""The store as this node's configuration names it, under one of its identities."""

from __future__ import annotations

from keyfold.backup.cluster import ClusterState
from keyfold.config import StoreAccess
from keyfold.context import Context
from keyfold.errors import KeyfoldError
from keyfold.remote import Remote
from keyfold.remote.check.fitness import RECORD_KIND, require_fit
from keyfold.remote.webdav import WebDavRemote


def writer(context: Context) -> Remote:
    """May create, never overwrite or delete. KeyfoldError `unfit` if the last check of the store said refuse."""
    store = access(context)
    require_fit(ClusterState(context.agent).records(RECORD_KIND), store.url)
    return WebDavRemote(store.url, store.ca, store.writer_cert, store.writer_key, context.clock)


def reader(context: Context) -> Remote:
    """May only read."""
    store = access(context)
    return WebDavRemote(store.url, store.ca, store.reader_cert, store.reader_key, context.clock)


def access(context: Context) -> StoreAccess:
    """Where the store is, and the certificates for it; KeyfoldError `invalid` outside the backup site."""
    if context.config.store is None:
        raise KeyfoldError(
            "invalid",
            f"the node {context.config.node} has no access to the store: it is not in the backup site",
            not_done="nothing was backed up or restored",
            next_step="run the command on a node of the backup site (keyfold status shows site roles)",
        )
    return context.config.store
