"""Expiry in a cluster in memory whose clock a test moves."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.admin import ROOT, Admin
from support.memory_cluster import committed, counted, invalidated, object_file, usage

from keyfold.agent.expirer import Expirer
from keyfold.clock import stamp
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.replication.usage import Usage
from keyfold.store.interface import Put

DAY = 86400.0
A, B = "a.object", "b.object"


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    made = Admin(tmp_path)
    made.node.create(A, object_file(b"1"))
    return made


def expirer(admin: Admin, node: str = "hsm1") -> Expirer:
    registry: Any = admin.registry
    return Expirer(admin.store, registry, admin.clock, node)


def destroy(admin: Admin, file: str) -> None:
    """With the clock of the test: the node in memory has the machine's."""
    admin.node.destroy(file)
    key = keys.invalidated("acme", file)
    item = admin.store.get(key)
    assert item is not None
    sealer = admin.registry.sealer("acme")
    content = sealer.open(key, item.value)
    meta = {**content.meta, "invalidated_at": stamp(admin.clock.utc())}
    admin.store.txn((), [Put(key, sealer.seal(key, type(content)(meta, content.data)))])


def pass_days(admin: Admin, days: int) -> None:
    """A run every day."""
    for _ in range(days):
        admin.clock.advance(DAY)
        expirer(admin).hourly()


def test_an_invalidated_object_expires_after_invalidation_days_and_not_before(admin: Admin) -> None:
    destroy(admin, A)
    pass_days(admin, 90)
    assert set(invalidated(admin.store)) == {A}
    pass_days(admin, 2)
    assert invalidated(admin.store) == {}
    assert usage(admin.store) == counted(admin.store) == Usage()
    assert admin.store.get(keys.purged("acme", A)) is not None
    assert [note["files"] for note in admin.notes() if note["what"] == "expire"] == [[A]]


def test_a_preview_says_what_would_expire_and_a_run_by_hand_does_exactly_that(admin: Admin) -> None:
    destroy(admin, A)
    pass_days(admin, 90)
    admin.clock.advance(DAY * 1.5)
    before = admin.store.revision()
    preview = expirer(admin).operation(ROOT, {"check": True})
    assert admin.store.revision() == before
    done = expirer(admin).operation(ROOT, {})
    assert [row["file"] for row in preview["plan"]] == [row["file"] for row in done["plan"]] == [A]  # type: ignore[call-overload, index]
    assert invalidated(admin.store) == {}


def test_zero_invalidation_days_keeps_for_ever(tmp_path: Path) -> None:
    admin = Admin(tmp_path, invalidation_days=0)
    admin.node.create(A, object_file(b"1"))
    destroy(admin, A)
    pass_days(admin, 200)
    assert set(invalidated(admin.store)) == {A}


def test_live_objects_never_expire(admin: Admin) -> None:
    pass_days(admin, 100)
    assert set(committed(admin.store)) == {A}


@pytest.mark.parametrize("days", [400, -400])
def test_a_node_whose_clock_jumped_expires_nothing_and_says_so(admin: Admin, days: int) -> None:
    destroy(admin, A)
    pass_days(admin, 1)
    for name in ("hsm2", "hsm3"):
        row = {"name": name, "updated": stamp(admin.clock.utc())}
        admin.store.txn((), [Put(keys.node(name), json.dumps(row).encode())])
    admin.clock.advance(days * DAY)
    node = expirer(admin)
    with pytest.raises(KeyfoldError, match="1 of 3 nodes agree"):
        node.hourly()
    assert set(invalidated(admin.store)) == {A}
    assert "1 of 3 nodes agree" in node.problem
    admin.clock.advance(-days * DAY)
    node.hourly()
    assert node.problem == ""


def test_when_all_clocks_jump_a_person_has_to_confirm(admin: Admin) -> None:
    destroy(admin, A)
    pass_days(admin, 1)
    admin.clock.advance(400 * DAY)
    with pytest.raises(KeyfoldError) as refused:
        expirer(admin).operation(ROOT, {})
    assert refused.value.code == "refused"
    assert "--accept-pause" in refused.value.next_step
    expirer(admin).operation(ROOT, {"accept_pause": True})
    assert invalidated(admin.store) == {}


def test_only_one_node_runs_at_a_time_and_not_again_within_the_hour(admin: Admin) -> None:
    lock = keys.EXPIRY + "lock"
    lease = admin.store.grant(60)
    admin.store.txn((), [Put(lock, b"hsm2", lease)])
    expirer(admin).hourly()
    assert admin.store.get(keys.EXPIRY + "state") is None
    with pytest.raises(KeyfoldError, match="another node"):
        expirer(admin).operation(ROOT, {})
    admin.store.revoke(lease)
    expirer(admin).hourly()
    revision = admin.store.revision()
    expirer(admin, "hsm2").hourly()
    assert admin.store.revision() == revision


def test_figures_that_drifted_are_put_right_and_that_is_recorded(admin: Admin) -> None:
    admin.store.txn((), [Put(keys.usage("acme"), Usage(7, 7, 7, 7).encode())])
    expirer(admin).hourly()
    assert usage(admin.store) == counted(admin.store)
    assert [note["partition"] for note in admin.notes() if note["what"] == "figures corrected"] == ["acme"]
