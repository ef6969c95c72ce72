"""A cluster in memory that audits: notes are written, one or more linkers link them, the chain is proven."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from support.clocks import StillClock

from keyfold.audit import read
from keyfold.audit.linker import Linker
from keyfold.audit.note import note
from keyfold.audit.verify import ChainCheck
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.replication import keys
from keyfold.store.interface import Store
from keyfold.store.memory import MemoryStore

UUID = "5f0c7d5e-8a52-4f5d-9d0e-0a8f5a0b6c11"
SYSTEM = MemorySystemKeys(bytes(range(32)), UUID)
CLUSTER: dict[str, Any] = {"uuid": UUID, "epoch": 1, "audit_public_keys": {"1": SYSTEM.audit_public_key().hex()}}
PUBLIC = {1: SYSTEM.audit_public_key()}


def sign(messages: Sequence[bytes], epoch: int) -> list[bytes]:
    assert epoch == 1
    return [SYSTEM.sign_audit(message) for message in messages]


def linker(store: Store, clock: StillClock | None = None, node: str = "hsm1") -> Linker:
    return Linker(store, clock or StillClock(), node, sign)


def write(store: MemoryStore, number: int, clock: StillClock | None = None, **detail: Any) -> None:
    """One transaction with one note, told apart by `number`."""
    put = note(clock or StillClock(), "hsm1", what="test", who="tester", number=number, **detail)
    assert store.txn((), [put]).succeeded


def link_all(store: MemoryStore) -> None:
    one = linker(store)
    while one.link(CLUSTER):
        pass


def prove(store: Store) -> list[dict[str, Any]]:
    """The notes of the whole chain, in order; raises Broken."""
    check = ChainCheck(UUID, PUBLIC)
    scan = store.scan(keys.AUDIT_CHAIN)
    notes = [dict(check.feed(item.key.removeprefix(keys.AUDIT_CHAIN), item.value).note) for item in scan]
    check.finish(read.head(store))
    return notes
