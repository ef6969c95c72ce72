"""Every linked entry reaches the journal, in order; a rewritten chain rings the alarm."""

from __future__ import annotations

import json
import socket
import struct
from collections.abc import Mapping
from pathlib import Path

import pytest
from support.audit import SYSTEM, link_all, write

from keyfold.audit import entry, read
from keyfold.audit.entry import Head
from keyfold.audit.journal import ALERT, NOTICE, SystemJournal
from keyfold.audit.ship import Shipper
from keyfold.replication import keys
from keyfold.store.interface import Delete, Put
from keyfold.store.memory import MemoryStore


class MemoryJournal:
    def __init__(self) -> None:
        self.entries: list[tuple[str, int, Mapping[str, str]]] = []
        self.down = False

    def send(self, message: str, priority: int, fields: Mapping[str, str]) -> None:
        if self.down:
            raise ConnectionRefusedError
        self.entries.append((message, priority, fields))

    @property
    def sequence(self) -> list[int]:
        return [int(fields["KEYFOLD_AUDIT_SEQ"]) for _, priority, fields in self.entries if priority == NOTICE]

    @property
    def alarms(self) -> list[str]:
        return [message for message, priority, _ in self.entries if priority == ALERT]


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def journal() -> MemoryJournal:
    return MemoryJournal()


@pytest.fixture
def position(tmp_path: Path) -> Path:
    return tmp_path / "shipped.json"


@pytest.fixture
def shipper(store: MemoryStore, journal: MemoryJournal, position: Path) -> Shipper:
    shipper = Shipper(store, journal, position)
    shipper.ship()
    return shipper


def grow(store: MemoryStore, count: int) -> None:
    for number in range(count):
        write(store, number, partition="acme", ticket="T-1")
    link_all(store)


def test_entries_are_shipped_once_each_in_order(store: MemoryStore, journal: MemoryJournal, shipper: Shipper) -> None:
    grow(store, 3)
    assert shipper.ship() == 3
    assert shipper.ship() == 0
    grow(store, 120)
    assert shipper.ship() == 120
    assert journal.sequence == list(range(1, 124))
    message, _, fields = journal.entries[0]
    assert message == "audit 1: test by tester in partition acme on hsm1"
    assert (fields["KEYFOLD_WHAT"], fields["KEYFOLD_TICKET"], fields["KEYFOLD_PARTITION"]) == ("test", "T-1", "acme")


def test_the_journal_alone_can_prove_an_entry(store: MemoryStore, journal: MemoryJournal, shipper: Shipper) -> None:
    grow(store, 1)
    shipper.ship()
    fields = journal.entries[0][2]
    body = fields["KEYFOLD_AUDIT_ENTRY"].encode()
    assert SYSTEM.sign_audit(entry.signed(body)).hex() == fields["KEYFOLD_AUDIT_SIGNATURE"]
    assert entry.after(Head(0, "", 0), body, 0).hash == fields["KEYFOLD_AUDIT_HASH"]


def test_a_restart_goes_on_where_it_stopped(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper, position: Path
) -> None:
    grow(store, 2)
    shipper.ship()
    grow(store, 2)
    assert Shipper(store, journal, position).ship() == 2
    assert journal.sequence == [1, 2, 3, 4]


def test_while_the_journal_is_down_nothing_is_left_out(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper
) -> None:
    grow(store, 2)
    journal.down = True
    with pytest.raises(OSError):
        shipper.ship()
    journal.down = False
    shipper.ship()
    assert journal.sequence == [1, 2]


def test_a_node_that_joins_ships_what_comes_from_then_on(
    store: MemoryStore, journal: MemoryJournal, tmp_path: Path
) -> None:
    grow(store, 3)
    joining = Shipper(store, journal, tmp_path / "fresh.json")
    joining.ship()
    grow(store, 1)
    joining.ship()
    assert journal.sequence == [4]


def test_before_the_first_entry_is_linked_nothing_is_wrong(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper
) -> None:
    assert shipper.ship() == 0
    assert (journal.alarms, shipper.problem) == ([], "")
    grow(store, 1)
    assert shipper.ship() == 1


def test_a_chain_that_was_cut_rings_the_alarm_once(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper
) -> None:
    """The attacker removes the end and rewinds the head: the chain itself is whole, the journals know better."""
    grow(store, 1)
    short = store.get(keys.AUDIT_HEAD)
    assert short is not None
    grow(store, 1)
    shipper.ship()
    store.txn((), [Put(keys.AUDIT_HEAD, short.value), Delete(keys.audit_entry(2))])
    for _ in range(2):
        shipper.ship()
    assert len(journal.alarms) == 1
    assert "the chain has 1 entries, 2 were shipped" in journal.alarms[0]
    assert "entry 2" in shipper.problem


def test_a_chain_that_was_replaced_rings_the_alarm(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper
) -> None:
    grow(store, 2)
    shipper.ship()
    head = read.head(store)
    assert head is not None
    store.txn((), [Put(keys.AUDIT_HEAD, Head(1, "0" * 64, 0).encode()), Delete(keys.audit_entry(2))])
    grow(store, 1)
    shipper.ship()
    assert "the last entry is not the one that was shipped" in journal.alarms[0]
    grow(store, 1)
    shipper.ship()
    assert "does not follow entry 2 as it was shipped" in journal.alarms[1]


def test_an_altered_entry_rings_the_alarm_and_the_others_are_shipped(
    store: MemoryStore, journal: MemoryJournal, shipper: Shipper
) -> None:
    grow(store, 3)
    store.txn((), [Put(keys.audit_entry(2), b"{}"), Put(keys.AUDIT_CHAIN + "0000000000000002x", b"")])
    shipper.ship()
    assert journal.sequence == [1, 3]
    assert "entry 2: it was altered" in journal.alarms[0]


def test_the_native_protocol_carries_every_value_whole(tmp_path: Path) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        SystemJournal(tmp_path / "socket").send("done", NOTICE, {"KEYFOLD_WHO": "ada", "KEYFOLD_TEXT": "a\nb=c"})
        sent = journald.recv(65536)
    assert sent == (
        b"MESSAGE=done\nPRIORITY=5\nSYSLOG_IDENTIFIER=keyfold-audit\nKEYFOLD_WHO=ada\nKEYFOLD_TEXT\n"
        + struct.pack("<Q", 5)
        + b"a\nb=c\n"
    )


def test_the_largest_entry_is_one_datagram(tmp_path: Path, store: MemoryStore) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journald:
        journald.bind(str(tmp_path / "socket"))
        shipper = Shipper(store, SystemJournal(tmp_path / "socket"), tmp_path / "position")
        shipper.ship()
        write(store, 0, text="x" * 65_000, ticket="T" * 100)
        link_all(store)
        assert shipper.ship() == 1
        assert b"x" * 65_000 in journald.recv(1 << 20)
    assert json.loads((tmp_path / "position").read_text())["seq"] == 1
