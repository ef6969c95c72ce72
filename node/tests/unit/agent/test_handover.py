"""First PINs: sealed in the transaction that makes the partition, to their owners, and in clear nowhere."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path
from unittest.mock import MagicMock

import pytest

from keyfold.agent import handover
from keyfold.agent.handover import Handover, Pins, draw_pins, seal_with_age
from keyfold.approval.officers import parse
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore

AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
PINS = Pins("user-pin-4711", "so-pin-4712")


@pytest.fixture(scope="module")
def people(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Key pairs: subscriber, ada and grace (Ed25519), and rear (ECDSA, which age cannot seal to)."""
    home = tmp_path_factory.mktemp("people")
    for name, kind in (("subscriber", "ed25519"), ("ada", "ed25519"), ("grace", "ed25519"), ("rear", "ecdsa")):
        subprocess.run(["ssh-keygen", "-q", "-t", kind, "-N", "", "-f", str(home / name)], check=True)
    return home


def public(home: Path, name: str) -> str:
    return " ".join((home / f"{name}.pub").read_text().split()[:2])


def opened(home: Path, name: str, sealed: str) -> str:
    command = ["age", "--decrypt", "--identity", str(home / name)]
    return subprocess.run(command, input=sealed, capture_output=True, text=True, check=True).stdout.strip()


def with_officers(home: Path, *names: str) -> MemoryStore:
    store = MemoryStore()
    if names:
        rows = [{"name": name, "key": public(home, name)} for name in names]
        store.txn((), [Put(keys.OFFICERS, parse({"officers": rows, "required": 1}).encode())])
    return store


def test_each_pin_opens_to_its_owners_and_to_nobody_else(people: Path) -> None:
    made = Handover(with_officers(people, "ada", "grace", "rear"), draw=lambda: PINS)
    prepared = made.prepare({"acme": public(people, "subscriber")})["acme"]
    put = prepared.record
    record = json.loads(put.value)
    assert prepared.pins == PINS
    assert put.key == keys.records("handover", "acme")
    assert opened(people, "subscriber", record["user"]) == PINS.user
    assert [opened(people, name, record["so"]) for name in ("ada", "grace")] == [PINS.so] * 2
    assert record["so_sealed_to"] == ["ada", "grace"]
    for stranger, sealed in (("ada", record["user"]), ("subscriber", record["so"])):
        with pytest.raises(subprocess.CalledProcessError):
            opened(people, stranger, sealed)
    assert b"471" not in put.value


@pytest.mark.parametrize("officers", [(), ("rear",)])
def test_without_an_officer_to_seal_it_to_nobody_has_the_so_pin(people: Path, officers: tuple[str, ...]) -> None:
    made = Handover(with_officers(people, *officers), draw=lambda: PINS).prepare({"acme": AGE_KEY})
    record = json.loads(made["acme"].record.value)
    assert (record["so"], record["so_sealed_to"]) == (None, [])


def test_pins_are_long_and_never_alike_and_in_no_representation() -> None:
    drawn = [draw_pins() for _ in range(20)]
    assert len({pin for pins in drawn for pin in (pins.user, pins.so)}) == 40
    assert all(len(pins.user) == len(pins.so) == 24 for pins in drawn)
    assert PINS.user not in repr(PINS)


def test_the_secret_is_in_no_argument(monkeypatch: pytest.MonkeyPatch) -> None:
    run = MagicMock(return_value=subprocess.CompletedProcess([], 0, "sealed", ""))
    monkeypatch.setattr(handover.subprocess, "run", run)
    seal_with_age("a-secret", [AGE_KEY])
    assert "a-secret" not in str(run.call_args.args)
    assert run.call_args.kwargs["input"] == "a-secret\n"
    assert "env" not in run.call_args.kwargs


def test_a_recipient_that_age_refuses_is_named_without_the_pin() -> None:
    wrong = AGE_KEY[:-1] + "q"
    with pytest.raises(KeyfoldError) as refused:
        Handover(MemoryStore(), draw=lambda: PINS).prepare({"acme": AGE_KEY, "globex": wrong})
    assert refused.value.code == "invalid"
    assert "subscriber_key" in refused.value.next_step
    assert "471" not in str(refused.value)


def test_what_was_never_sealed_is_not_found() -> None:
    with pytest.raises(KeyfoldError, match="nobody") as missing:
        Handover(MemoryStore()).sealed(["nobody"])
    assert missing.value.code == "not_found"
