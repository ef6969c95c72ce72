from __future__ import annotations

import dataclasses
from typing import Any

import pytest
from support.approvals import NOW, OFFICERS, approval, declare, request
from support.clocks import StillClock

from keyfold.approval import memory
from keyfold.approval.gate import Gate, Granted
from keyfold.approval.memory import MemoryVerifier
from keyfold.approval.officers import Officers
from keyfold.errors import KeyfoldError
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore

OBJECTS = ["a.object", "b.object"]


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    declare(store)
    return store


def check(store: MemoryStore, given: dict[str, Any] | None, **overrides: Any) -> Granted:
    wanted: dict[str, Any] = {"kind": "purge", "partition": "acme", "subject": {"objects": OBJECTS}, **overrides}
    return Gate(store, StillClock(NOW), MemoryVerifier()).check(given, **wanted)


def refusal(store: MemoryStore, given: dict[str, Any] | None, **overrides: Any) -> KeyfoldError:
    with pytest.raises(KeyfoldError) as caught:
        check(store, given, **overrides)
    return caught.value


def test_enough_officers_approve_what_the_request_says(store: MemoryStore) -> None:
    granted = check(store, approval(request("purge", "acme", objects=OBJECTS), "grace", "ada"))
    assert granted.officers == ("ada", "grace")
    assert store.txn(granted.compares, [*granted.ops, Put("done", b"")]).succeeded


def test_an_approval_is_used_once_even_by_two_at_the_same_time(store: MemoryStore) -> None:
    given = approval(request("purge", "acme", objects=OBJECTS), "ada", "grace")
    first, second = check(store, given), check(store, given)
    assert store.txn(first.compares, first.ops).succeeded
    assert not store.txn(second.compares, second.ops).succeeded
    error = refusal(store, given)
    assert error.code == "unapproved"
    assert "used at 2026-03-01" in error.what


def test_an_approval_does_not_outlive_a_change_of_the_officers(store: MemoryStore) -> None:
    granted = check(store, approval(request("purge", "acme", objects=OBJECTS), "ada", "grace"))
    declare(store, Officers(OFFICERS.keys, 3))
    assert not store.txn(granted.compares, granted.ops).succeeded


def test_too_few_signatures_are_refused_with_who_signed_and_who_did_not_count(store: MemoryStore) -> None:
    raw = request("purge", "acme", objects=OBJECTS)
    given = approval(raw, "ada", "ada")
    given["signatures"] += [
        memory.sign("ssh-ed25519 stranger", raw),
        memory.sign(OFFICERS.keys["grace"], raw + b" "),
        memory.sign(OFFICERS.keys["linus"], raw, "git"),
    ]
    error = refusal(store, given)
    assert (error.code, error.exit_code) == ("unapproved", 13)
    for words in (
        "signed by ada;",
        "signature 2: ada has signed already",
        "signature 3: its key is not one of the officers'",
        "signature 4: grace signed something else",
        "signature 5: linus signed for another purpose",
        "needed: 2 of ada, grace, linus",
    ):
        assert words in error.what
    assert "ssh-keygen -Y sign -n keyfold-approval" in error.next_step


@pytest.mark.parametrize(
    ("changes", "complaint"),
    [
        ({"kind": "reactivate"}, "kind: reactivate, not purge"),
        ({"partition": "other"}, "partition: other, not acme"),
        ({"partition": None}, "partition: None, not acme"),
        ({"cluster": "another"}, "cluster: another, not 1111"),
        ({"expires": "2026-03-01T12:00:00Z"}, "expired at 2026-03-01T12:00:00Z"),
        ({"expires": "2026-04-01T12:00:00Z"}, "more than 30 days ahead"),
        ({"objects": ["a.object"]}, 'objects: ["a.object"], not ["a.object", "b.object"]'),
        ({"objects": OBJECTS, "limit": 1}, "limit: 1, which purge does not know"),
    ],
)
def test_a_request_for_anything_else_is_refused_by_name(
    store: MemoryStore, changes: dict[str, Any], complaint: str
) -> None:
    raw = request(**{"kind": "purge", "partition": "acme", "objects": OBJECTS, **changes})
    error = refusal(store, approval(raw, "ada", "grace", "linus"))
    assert error.code == "unapproved"
    assert complaint in error.what


def test_a_request_that_lacks_what_it_is_for_is_refused(store: MemoryStore) -> None:
    error = refusal(store, approval(request("purge", "acme"), "ada", "grace"))
    assert "lacks objects" in error.what


def test_one_and_true_are_not_the_same_subject(store: MemoryStore) -> None:
    given = approval(request("policy", "acme", read_only=1), "ada", "grace")
    assert "read_only: 1, not true" in refusal(store, given, kind="policy", subject={"read_only": True}).what


def test_without_an_approval_it_says_what_to_write_and_who_may_sign(store: MemoryStore) -> None:
    error = refusal(store, None)
    assert (error.code, "2 of ada, grace, linus" in error.what) == ("unapproved", True)
    assert 'kind: purge, partition: acme, objects: ["a.object", "b.object"]' in error.next_step


def test_without_officers_nothing_is_approved() -> None:
    error = refusal(MemoryStore(), approval(request("purge", "acme", objects=OBJECTS), "ada", "grace"))
    assert (error.code, "no officers are declared" in error.what) == ("unapproved", True)


@pytest.mark.parametrize(
    "given",
    [{}, {"request": "?", "signatures": []}, {"request": "", "signatures": "x"}, {"request": "", "signatures": [1]}],
)
def test_an_approval_that_cannot_be_read_is_invalid(store: MemoryStore, given: dict[str, Any]) -> None:
    assert refusal(store, given).code == "invalid"


def test_what_takes_several_transactions_goes_on_under_the_same_approval_until_finished(store: MemoryStore) -> None:
    given = approval(request("purge", "acme", objects=OBJECTS), "ada", "grace")
    first = check(store, given, resume=True)
    assert store.txn(first.compares, first.ops).succeeded
    assert refusal(store, given).code == "unapproved"
    again = check(store, given, resume=True)
    assert store.txn(again.compares, again.ops).succeeded
    assert store.txn((), again.finished).succeeded
    assert "was used at" in refusal(store, given, resume=True).what


def test_a_grant_does_not_change(store: MemoryStore) -> None:
    granted = check(store, approval(request("purge", "acme", objects=OBJECTS), "ada", "grace"))
    with pytest.raises(dataclasses.FrozenInstanceError):
        granted.officers = ()  # type: ignore[misc]
