"""Many partitions are declared in few transactions, each partition whole in one of them."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest.mock import MagicMock

import pytest
from support.memory_cluster import SEALER, object_file

from keyfold.agent import partitions
from keyfold.agent.declarations import Declaration, transactions
from keyfold.agent.handover import Handover, Pins
from keyfold.agent.partitions import Partitions
from keyfold.agent.tokens import Token
from keyfold.errors import KeyfoldError
from keyfold.package import Package
from keyfold.replication import keys
from keyfold.store.interface import Put, Unchanged
from keyfold.store.memory import MemoryStore

PACKAGES = {"ECO": Package("ECO", 1000, "always"), "SBX": Package("SBX", 1000, "never")}
MANY = 100
KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"


def declaration(number: int, package: str = "ECO") -> dict[str, Any]:
    return {"name": f"p{number:04}", "package": package, "subscriber_key": KEY}


def _tokens(pins: Mapping[str, Pins], state: Path) -> dict[str, Token]:
    return {name: Token(f"uuid-{name}", {"token.object": object_file(b"1")}) for name in pins}


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def under_test(store: MemoryStore, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Partitions:
    monkeypatch.setattr(partitions, "make_tokens", _tokens)
    service = MagicMock(store=store)
    service.clock.utc.return_value = datetime(2026, 11, 24, tzinfo=UTC)
    service.config.packages = PACKAGES
    service.config.node = "hsm1"
    service.registry.sealer.return_value = SEALER
    return Partitions(service, handover=Handover(store, seal=lambda secret, recipients: f"sealed to {recipients}"))


def test_a_hundred_partitions_take_a_few_transactions(under_test: Partitions, store: MemoryStore) -> None:
    before = store.revision()
    reply = under_test.apply([declaration(number) for number in range(MANY)], check=False)
    assert reply["revision"] == store.revision()
    assert store.revision() - before <= MANY / 25
    assert len(list(store.scan(keys.PARTITIONS))) == len(list(store.scan(keys.OBJECTS))) == MANY


def test_a_partition_and_its_token_appear_at_one_revision(under_test: Partitions, store: MemoryStore) -> None:
    under_test.apply([declaration(number) for number in range(MANY)], check=False)
    rows = {item.key.removeprefix(keys.PARTITIONS): item.mod_revision for item in store.scan(keys.PARTITIONS)}
    tokens = {item.key.split("/")[-2]: item.mod_revision for item in store.scan(keys.OBJECTS)}
    assert rows == tokens
    sealed = {item.key.split("/")[-1]: item.mod_revision for item in store.scan(keys.records("handover"))}
    assert rows == sealed, "an answer that is lost must not lose a PIN"


def test_only_what_differs_is_written(under_test: Partitions, store: MemoryStore) -> None:
    declared = [declaration(number) for number in range(MANY)]
    under_test.apply(declared, check=False)
    before = store.revision()
    assert under_test.apply(declared, check=False)["revision"] == 0
    assert store.revision() == before
    declared[5] = declaration(5, "SBX")
    under_test.apply(declared, check=False)
    assert [item.key for item in store.scan(keys.PARTITIONS) if item.mod_revision > before] == [keys.partition("p0005")]


def test_a_check_makes_no_token_and_writes_nothing(
    under_test: Partitions, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(partitions, "make_tokens", MagicMock(side_effect=AssertionError("a token was made")))
    before = store.revision()
    (change,) = under_test.apply([declaration(1)], check=True)["changes"]
    assert (change["action"], store.revision()) == ("create", before)


def test_who_was_faster_is_named(under_test: Partitions, store: MemoryStore, monkeypatch: pytest.MonkeyPatch) -> None:
    def raced(pins: Mapping[str, Pins], state: Path) -> dict[str, Token]:
        under_test_too.apply([declaration(1)], check=False)
        return _tokens(pins, state)

    under_test_too = under_test
    calls = iter([raced, _tokens])
    monkeypatch.setattr(partitions, "make_tokens", lambda pins, state: next(calls)(pins, state))
    with pytest.raises(KeyfoldError, match="p0001") as caught:
        under_test.apply([declaration(0), declaration(1), declaration(2)], check=False)
    assert (caught.value.code, caught.value.what[-7:]) == ("conflict", ": p0001")
    assert [item.key for item in store.scan(keys.PARTITIONS)] == [keys.partition("p0001")]


def test_a_transaction_is_as_large_as_etcd_takes_and_an_approved_partition_has_its_own() -> None:
    ops = tuple(Put(f"k{number}", b"") for number in range(5))
    plain = [Declaration(f"p{number}", 0, ops) for number in range(130)]
    approved = Declaration("weaker", 7, ops, (Unchanged("officers", 3),))
    parts = [[one.name for one in part] for part in transactions([*plain[:2], approved, *plain[2:]])]
    assert [len(part) for part in parts] == [2, 1, 102, 26]
    assert parts[1] == ["weaker"]
