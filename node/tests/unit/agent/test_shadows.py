"""Reactivate and purge against etcd and nodes in memory, with officers who sign."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from support.admin import Admin
from support.approvals import approval, request
from support.memory_cluster import Node, committed, counted, invalidated, object_file, usage

from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.errors import Compacted, StoreUnavailable
from keyfold.store.interface import Put
from keyfold.store.memory import Fate

A, B = "a.object", "b.object"


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    return Admin(tmp_path)


def destroyed(admin: Admin, *files: str) -> None:
    for file in files:
        admin.node.create(file, object_file(file.encode()))
    for file in files:
        admin.node.destroy(file)


def signed(kind: str, *files: str) -> dict[str, Any]:
    return approval(request(kind, "acme", files=sorted(files)), "ada", "grace")


def test_a_reactivated_object_is_live_on_every_node_and_invalidated_no_more(admin: Admin, tmp_path: Path) -> None:
    two = Node("hsm2", admin.etcd, tmp_path)
    destroyed(admin, A, B)
    reply = admin.reactivate(signed("reactivate", A), files=[A])
    two.catch_up()
    admin.node.catch_up()
    assert committed(admin.store) == two.content() == admin.node.content() == {A: object_file(A.encode())[8:]}
    assert set(invalidated(admin.store)) == {B}
    assert (reply["plan"][0]["action"], reply["files"]) == ("reactivate", [A])
    assert usage(admin.store) == counted(admin.store)


def test_a_reactivated_object_can_be_destroyed_and_reactivated_again(admin: Admin) -> None:
    destroyed(admin, A)
    for ticket in ("T-1", "T-2"):
        given = approval(request("reactivate", "acme", files=[A], ticket=ticket), "ada", "grace")
        admin.reactivate(given, files=[A])
        admin.node.catch_up()
        admin.node.destroy(A)
    assert set(invalidated(admin.store)) == {A}


@pytest.mark.parametrize("kind", ["reactivate", "purge"])
def test_without_the_officers_nothing_happens(admin: Admin, kind: str) -> None:
    destroyed(admin, A, B)
    act = admin.reactivate if kind == "reactivate" else admin.purge
    other = "purge" if kind == "reactivate" else "reactivate"
    for given in (None, signed(other, A), signed(kind, B), signed(kind, A, B)):
        with pytest.raises(KeyfoldError) as refused:
            act(given, files=[A])
        assert refused.value.code == "unapproved"
    assert set(invalidated(admin.store)) == {A, B}


@pytest.mark.parametrize("kind", ["reactivate", "purge"])
def test_a_check_needs_no_approval_says_the_same_and_changes_nothing(admin: Admin, kind: str) -> None:
    destroyed(admin, A)
    act = admin.reactivate if kind == "reactivate" else admin.purge
    before = admin.store.revision()
    checked = act(files=[A], check=True)
    assert admin.store.revision() == before
    assert act(signed(kind, A), files=[A])["plan"] == checked["plan"]


@pytest.mark.parametrize("kind", ["reactivate", "purge"])
def test_done_again_it_needs_no_approval_and_changes_nothing(admin: Admin, kind: str) -> None:
    destroyed(admin, A)
    act = admin.reactivate if kind == "reactivate" else admin.purge
    act(signed(kind, A), files=[A])
    before = admin.store.revision()
    reply = act(files=[A])
    assert ([row["action"] for row in reply["plan"]], reply["revision"]) == (["untouched"], None)
    assert admin.store.revision() == before


@pytest.mark.parametrize("kind", ["reactivate", "purge"])
def test_it_is_recorded_with_files_officers_and_ticket(admin: Admin, kind: str) -> None:
    destroyed(admin, A)
    (admin.reactivate if kind == "reactivate" else admin.purge)(signed(kind, A), files=[A])
    (note,) = [note for note in admin.notes() if note["what"] == kind]
    assert (note["files"], note["officers"], note["ticket"]) == ([A], ["ada", "grace"], "T-1")


def test_a_series_that_was_interrupted_goes_on_under_the_same_approval_and_then_no_more(admin: Admin) -> None:
    files = [f"{number:03}.object" for number in range(300)]
    destroyed(admin, *files)
    given = signed("reactivate", *files)
    txn = admin.store.txn
    calls = 0

    def dies(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            admin.store.next_txns(Fate.UNAVAILABLE)
        return txn(*arguments, **options)

    admin.store.txn = dies  # type: ignore[method-assign]
    with pytest.raises(KeyfoldError):
        admin.reactivate(given, files=files)
    admin.store.txn = txn  # type: ignore[method-assign]
    assert 0 < len(committed(admin.store)) < 300
    admin.reactivate(given, files=files)
    assert sorted(committed(admin.store)) == files
    assert usage(admin.store) == counted(admin.store)
    admin.node.catch_up()
    admin.node.destroy(files[0])
    with pytest.raises(KeyfoldError, match="used"):
        admin.reactivate(given, files=files)


def test_what_was_purged_is_nowhere_in_etcd_not_even_in_its_history(admin: Admin) -> None:
    destroyed(admin, A, B)
    before = admin.store.revision()
    reply = admin.purge(signed("purge", A), files=[A])
    assert reply["history"] == {"compacted": reply["revision"], "problems": {}}
    assert set(invalidated(admin.store)) == {B}
    for key in (keys.invalidated("acme", A), keys.live("acme", A)):
        with pytest.raises(Compacted):
            admin.store.get(key, revision=before)
    assert admin.store.get(keys.HISTORY_DUE) is None
    assert usage(admin.store) == counted(admin.store)


def test_history_that_could_not_be_swept_stays_due_and_the_next_purge_does_it(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroyed(admin, A)

    def ill(endpoint: str) -> None:
        raise KeyfoldError("no_quorum", "it does not answer", not_done="", next_step="")

    monkeypatch.setattr(admin.store, "defragment", ill)
    assert admin.purge(signed("purge", A), files=[A])["history"]["problems"] == {"memory": "it does not answer"}
    monkeypatch.undo()
    assert admin.purge(files=[A])["history"]["problems"] == {}
    assert admin.purge(files=[A])["history"] is None


def test_a_node_that_was_away_offers_no_purged_object_back(admin: Admin, tmp_path: Path) -> None:
    two = Node("hsm2", admin.etcd, tmp_path)
    admin.node.create(A, object_file(A.encode()))
    two.catch_up()
    admin.node.destroy(A)
    admin.purge(signed("purge", A), files=[A])
    two.replica.purged([A])
    two.start()
    assert two.content() == committed(admin.store) == {}


def test_a_collision_is_refused_before_anybody_asks_the_officers(admin: Admin) -> None:
    admin.node.create(A, object_file(b"1", object_class=2, label=b"k"))
    admin.node.destroy(A)
    admin.node.create(B, object_file(b"2", object_class=2, label=b"k"))
    with pytest.raises(KeyfoldError) as refused:
        admin.reactivate(files=[A])
    assert refused.value.code == "conflict"
    assert B in refused.value.what


def test_etcd_failing_right_after_a_purge_does_not_make_it_look_undone(
    admin: Admin, monkeypatch: pytest.MonkeyPatch
) -> None:
    destroyed(admin, A)

    def fails(revision: int) -> None:
        raise StoreUnavailable("no majority")

    monkeypatch.setattr(admin.store, "compact", fails)
    reply = admin.purge(signed("purge", A), files=[A])
    assert (reply["revision"] > 0, reply["history"]["problems"]) == (True, {"etcd": "no majority"})
    assert invalidated(admin.store) == {}


def test_two_who_sweep_at_once_never_defragment_two_members_at_once(admin: Admin) -> None:
    destroyed(admin, A)
    lease = admin.store.grant(60)
    admin.store.txn((), [Put(keys.HISTORY_LOCK, b"", lease)])
    assert "all" in admin.purge(signed("purge", A), files=[A])["history"]["problems"]
    admin.store.revoke(lease)
    assert admin.purge(files=[A])["history"]["problems"] == {}
