"""Any tampering is found, and the first broken link is the one that is named."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest
from support.audit import CLUSTER, PUBLIC, SYSTEM, UUID, link_all, write

from keyfold.audit import entry
from keyfold.audit.entry import Head
from keyfold.audit.verify import Broken, ChainCheck
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.replication import keys
from keyfold.store.memory import MemoryStore

Chain = list[tuple[str, bytes]]
LENGTH = 5
# Computed once; a cluster's old entries must be provable for ever.
GOLDEN_VALUE = (
    b'{"epoch":1,"key":"SHA256:b39177f687ad6e473ca6ac0947ea4141f88af281213a7e843d55d4b078bdf76a","linked":"2026-03-01T12:00:00.000000Z","linked_by":"hsm1",'
    b'"note":{"node":"hsm1","partition":"acme","time":"2026-03-01T12:00:00.000000Z","what":"purge","who":"administrator"},'
    b'"previous":"42fbef6bb5bf6f66d69be1fd09cc1a2b2fed68fbfa7b612650ea375a93baa812","revision":7,"seq":1,"v":1}\n'
    b"fd89d9b9fded56fd0da27cc7ba1b357bda86fea3f6d5dca9e30203172d2f34a4"
    b"e5680e357f5b4a2aef63e0ba4ef4d429d38558dcc209277c1d3bfec83a80b101"
)


@pytest.fixture(scope="module")
def chain() -> Chain:
    store = MemoryStore()
    for number in range(LENGTH):
        write(store, number)
    link_all(store)
    return [(item.key.removeprefix(keys.AUDIT_CHAIN), item.value) for item in store.scan(keys.AUDIT_CHAIN)]


def head(chain: Chain) -> Head:
    last = entry.decode(chain[-1][1])
    return Head(last.fields["seq"], last.hash, last.fields["revision"])


def check(chain: Chain, end: Head | None, **overrides: Any) -> ChainCheck:
    checked = ChainCheck(overrides.pop("uuid", UUID), overrides.pop("keys", PUBLIC), **overrides)
    for name, value in chain:
        checked.feed(name, value)
    checked.finish(end)
    return checked


def broken(chain: Chain, end: Head | None, **overrides: Any) -> Broken:
    with pytest.raises(Broken) as caught:
        check(chain, end, **overrides)
    return caught.value


def test_a_whole_chain_is_proven(chain: Chain) -> None:
    assert check(chain, head(chain)).head == head(chain)
    assert check([], None).head.seq == 0


@pytest.mark.exhaustive
def test_every_bit_of_every_entry_counts(chain: Chain) -> None:
    """All bits of the second entry: the chain, alone, finds each, and names that entry."""
    name, value = chain[1]
    for position in range(len(value)):
        for bit in range(8):
            flipped = value[:position] + bytes([value[position] ^ (1 << bit)]) + value[position + 1 :]
            found = broken([chain[0], (name, flipped), *chain[2:]], head(chain))
            assert found.seq == 2, (position, bit)


def test_every_truncation_of_an_entry_is_found(chain: Chain) -> None:
    name, value = chain[-1]
    for length in range(len(value)):
        assert broken([*chain[:-1], (name, value[:length])], head(chain)).seq == LENGTH
    assert broken([*chain[:-1], (name, value + b"\n")], head(chain)).seq == LENGTH


@pytest.mark.parametrize("dropped", range(LENGTH))
def test_a_missing_entry_is_named(chain: Chain, dropped: int) -> None:
    found = broken(chain[:dropped] + chain[dropped + 1 :], head(chain))
    assert found.seq == dropped + 1
    assert ("it is missing" if dropped < LENGTH - 1 else "the chain ends at 4, its head says 5") in found.reason


def test_entries_that_changed_places_are_named(chain: Chain) -> None:
    swapped = [chain[0], (chain[1][0], chain[2][1]), (chain[2][0], chain[1][1]), *chain[3:]]
    assert broken(swapped, head(chain)).reason == "it is entry 3, put in another place"


def test_an_entry_twice_is_named(chain: Chain) -> None:
    doubled = [*chain[:2], (chain[2][0], chain[1][1]), *chain[2:]]
    assert broken(doubled, head(chain)).seq == 3
    appended = [*chain, ("0000000000000006", chain[-1][1])]
    assert broken(appended, head(chain)).seq == 6


@pytest.mark.parametrize("name", ["6", "0000000000000006x", "000000000000000 6", "", "zzz"])
def test_a_key_that_is_no_entry_is_named(chain: Chain, name: str) -> None:
    assert f"the next key is {name!r}" in broken([*chain, (name, b"x")], head(chain)).reason


@pytest.mark.parametrize(
    "end",
    [
        lambda good: None,
        lambda good: Head(good.seq - 1, good.hash, good.revision),
        lambda good: Head(good.seq + 1, good.hash, good.revision),
        lambda good: Head(good.seq, "0" * 64, good.revision),
        lambda good: Head(good.seq, good.hash, good.revision + 1),
    ],
)
def test_a_head_that_is_not_the_last_entrys_is_found(chain: Chain, end: Callable[[Head], Head | None]) -> None:
    assert "head" in broken(chain, end(head(chain))).reason


def forged(previous: Head, system: MemorySystemKeys = SYSTEM, **changes: Any) -> bytes:
    """An entry that is well-formed and signed, but not as the linker would have."""
    fields = {"note": b'{"what":"forged","who":"eve"}', "revision": 100, "epoch": 1, "node": "hsm1", "linked": "now"}
    body = entry.body(
        previous=changes.pop("previous", previous), public_key=system.audit_public_key(), **{**fields, **changes}
    )
    return entry.encode(body, system.sign_audit(entry.signed(body)))


def test_an_entry_that_a_stranger_signed_is_found(chain: Chain) -> None:
    stranger = MemorySystemKeys(bytes(32), UUID)
    found = broken([*chain, ("0000000000000006", forged(head(chain), stranger))], None)
    assert (found.seq, "it names the key SHA256:" in found.reason) == (6, True)


def test_a_rewritten_history_is_found_where_it_parts(chain: Chain) -> None:
    """Even the audit key itself cannot put an entry after another one than it was signed for."""
    parted = Head(head(chain).seq, "0" * 64, head(chain).revision)
    found = broken([*chain, ("0000000000000006", forged(parted))], None)
    assert (found.seq, "'previous' is not the hash" in found.reason) == (6, True)


def test_even_a_signed_entry_must_be_in_canonical_form(chain: Chain) -> None:
    body = forged(head(chain)).rpartition(b"\n")[0].replace(b'"seq":', b'"seq": ')
    found = broken([*chain, ("0000000000000006", entry.encode(body, SYSTEM.sign_audit(entry.signed(body))))], None)
    assert "the body is not canonical JSON" in found.reason


def test_revisions_do_not_go_back(chain: Chain) -> None:
    found = broken([*chain, ("0000000000000006", forged(head(chain), revision=1))], None)
    assert "it links revision 1 after" in found.reason


def test_the_chain_of_another_cluster_is_refused_at_its_first_entry(chain: Chain) -> None:
    other = "0b1f6a52-93d5-4f41-8a3c-5d3f2f7c9e10"
    assert broken(chain, head(chain), uuid=other).seq == 1
    assert "no audit key of epoch 1" in broken(chain, head(chain), keys={2: PUBLIC[1]}).reason


def test_an_entry_known_from_a_journal_must_be_there(chain: Chain) -> None:
    good = head(chain)
    assert check(chain, good, expected={LENGTH: good.hash})
    assert broken(chain, good, expected={2: "0" * 64}).seq == 2
    shorter = chain[:-1]
    assert (
        broken(shorter, head(shorter), expected={LENGTH: good.hash}).reason == "it is expected, and the chain ends at 4"
    )


def test_the_format_is_the_golden_one_to_the_byte() -> None:
    note = (
        b'{"node":"hsm1","partition":"acme","time":"2026-03-01T12:00:00.000000Z","what":"purge","who":"administrator"}'
    )
    start = Head.start(UUID)
    body = entry.body(
        note,
        previous=start,
        revision=7,
        epoch=CLUSTER["epoch"],
        public_key=SYSTEM.audit_public_key(),
        node="hsm1",
        linked="2026-03-01T12:00:00.000000Z",
    )
    assert entry.encode(body, SYSTEM.sign_audit(entry.signed(body))) == GOLDEN_VALUE
