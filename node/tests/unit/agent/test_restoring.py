"""A restore through the agent's real operations over etcd in memory: gate, crash walk, quota, modes."""

from __future__ import annotations

import base64
import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from support.admin import ROOT, Admin
from support.approvals import approval, request
from support.memory_cluster import PARTITION, Node, committed, counted, invalidated, object_file, usage

from keyfold.agent.admin import AdminOperations
from keyfold.agent.partitions import Partitions
from keyfold.agent.restoring import Restoring
from keyfold.approval.gate import Gate
from keyfold.approval.memory import MemoryVerifier
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import MAX_TXN_OPS, Delete, Put

SET, DIGEST = "20260301T023000Z-0123abcd", "ab" * 32
# Three transactions of them.
FILES = [f"{number:03}.object" for number in range(MAX_TXN_OPS + 10)]


class World:
    """`admin` with the restore's operations; `backup`: what the archive holds."""

    def __init__(self, tmp_path: Path) -> None:
        self.admin = Admin(tmp_path)
        self.admin.service.applied_revision = 0
        self.admin.registry.replica = lambda _: self.admin.node.replica
        partitions = Partitions(self.admin.service, MemoryVerifier())
        gate = Gate(self.admin.store, self.admin.clock, MemoryVerifier())
        self.restoring = Restoring(self.admin.service, partitions, gate)
        record = json.dumps({"manifest_sha256": DIGEST}).encode()
        self.admin.store.txn((), [Put(keys.records("backup_set", SET), record)])
        genesis: Any = SimpleNamespace()
        self.table = AdminOperations(self.admin.service, genesis, partitions).table()
        self.backup = {file: object_file(file.encode()) for file in FILES}

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        return dict(self.restoring.table()[op](ROOT, params))  # type: ignore[arg-type]

    def state(self, *, gone: bool) -> dict[str, Any]:
        reply: Any = self.table["object_list"](ROOT, {"partition": PARTITION, "invalidated": gone})
        return {row["file"]: row for row in reply["objects"]} | ({"purged": reply["purged"]} if gone else {})

    def changes(self, files: list[str]) -> list[dict[str, Any]]:
        """As the command plans them now, in mode replace."""
        live, kept = self.state(gone=False), self.state(gone=True)
        there = committed(self.admin.store)
        rows: list[dict[str, Any]] = []
        for file in files:
            row: dict[str, Any] = {"file": file, "meta": {}, "data": base64.b64encode(self.backup[file]).decode()}
            if file in live:
                row["live"] = [live[file]["revision"], live[file]["size"]]
            if file in kept:
                row["invalidated"] = [kept[file]["revision"], kept[file]["size"]]
            row["purged"] = file in kept["purged"]
            if file not in live or there[file] != self.backup[file][8:]:
                rows.append(row)
        surplus = sorted(set(live) - set(self.backup))
        return rows + [{"file": file, "live": [live[file]["revision"], live[file]["size"]]} for file in surplus]

    def restore(self, given: Mapping[str, Any], files: list[str]) -> dict[str, Any]:
        """begin, apply, finish: what the command does; safe to repeat."""
        if (self.call("restore_begin", approval=given, check=True)["record"] or {}).get("finished"):
            return {}
        self.call("restore_begin", approval=given, begun={"counts": {}}, growth={})
        self.call("restore_apply", approval=given, partition=PARTITION, objects=self.changes(files))
        return self.call("restore_finish", approval=given, result={"revision": 1})


@pytest.fixture
def world(tmp_path: Path) -> World:
    return World(tmp_path)


def signed(*officers: str, **fields: Any) -> dict[str, Any]:
    own = {"set": SET, "manifest_sha256": DIGEST, "mode": "merge", **fields}
    return approval(request("restore", **({"partition": PARTITION} | own)), *(officers or ("ada", "grace")))


def tampered(given: dict[str, Any]) -> dict[str, Any]:
    raw = base64.b64decode(given["request"]).replace(b"mode: merge", b"mode: replace")
    return {**given, "request": base64.b64encode(raw).decode()}


REFUSED: dict[str, Callable[[], Any]] = {
    "nobody": lambda: None,
    "one officer": lambda: signed("ada"),
    "tampered": lambda: tampered(signed()),
    "another set's hash": lambda: signed(manifest_sha256="cd" * 32),
    "expired": lambda: signed(expires="2026-03-01T11:59:59Z"),
    "another cluster": lambda: signed(cluster="99999999-2222-4333-8444-555555555555"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_the_officers_did_not_sign_is_not_done(world: World, name: str) -> None:
    before = world.admin.store.revision()
    with pytest.raises(KeyfoldError) as caught:
        world.restore(REFUSED[name](), FILES)
    assert caught.value.code == "unapproved"
    assert world.admin.store.revision() == before


def test_what_was_approved_for_another_partition_is_not_done_to_this_one(world: World) -> None:
    given = signed(partition="other")
    world.call("restore_begin", approval=given, begun={}, growth={})
    with pytest.raises(KeyfoldError, match="it is for other, not acme") as caught:
        world.call("restore_apply", approval=given, partition=PARTITION, objects=world.changes(FILES[:1]))
    assert caught.value.code == "unapproved"
    assert committed(world.admin.store) == {}


def test_nothing_is_written_before_the_restore_was_begun(world: World) -> None:
    before = world.admin.store.revision()
    for op, more in (("restore_apply", {"partition": PARTITION, "objects": []}), ("restore_finish", {"result": {}})):
        with pytest.raises(KeyfoldError, match="not begun"):
            world.call(op, approval=signed(), **more)
    assert world.admin.store.revision() == before


@pytest.mark.parametrize("kind", ["change", "remove"])
def test_merge_is_not_let_change_or_remove_what_is_live(world: World, kind: str) -> None:
    world.admin.node.create(FILES[0], object_file(b"newer"))
    rows = world.changes(FILES[:1])
    if kind == "remove":
        rows = [{key: row[key] for key in ("file", "live")} for row in rows]
    world.call("restore_begin", approval=signed(), begun={}, growth={})
    with pytest.raises(KeyfoldError, match=r"live|removed") as caught:
        world.call("restore_apply", approval=signed(), partition=PARTITION, objects=rows)
    assert caught.value.code == "unapproved"
    assert committed(world.admin.store) == {FILES[0]: object_file(b"newer")[8:]}


def test_an_approval_is_used_once(world: World) -> None:
    world.restore(signed(), FILES[:3])
    world.admin.node.catch_up()
    world.admin.node.destroy(FILES[0])
    assert world.restore(signed(), FILES[:3]) == {}
    assert FILES[0] not in committed(world.admin.store)
    with pytest.raises(KeyfoldError, match="was used"):
        world.call("restore_apply", approval=signed(), partition=PARTITION, objects=world.changes(FILES[:1]))


def test_every_node_has_what_came_back_and_every_transaction_its_audit_entry(world: World, tmp_path: Path) -> None:
    two = Node("hsm2", world.admin.etcd, tmp_path)
    world.restore(signed(), FILES)
    two.catch_up()
    world.admin.node.catch_up()
    assert two.content() == world.admin.node.content() == {file: data[8:] for file, data in world.backup.items()}
    notes = world.admin.notes()
    assert [note["what"] for note in notes if note["what"].startswith("restore")].count("restore") == 3
    assert all(note["officers"] == ["ada", "grace"] and note["ticket"] == "T-1" for note in notes if "request" in note)
    assert usage(world.admin.store) == counted(world.admin.store)


def test_a_restore_that_does_not_fit_writes_nothing(world: World) -> None:
    before = world.admin.store.revision()
    with pytest.raises(KeyfoldError) as caught:
        world.call("restore_begin", approval=signed(), begun={}, growth={PARTITION: 1_000_001})
    assert (caught.value.code, world.admin.store.revision()) == ("quota", before)


def test_what_changed_since_the_plan_is_a_conflict(world: World) -> None:
    rows = world.changes(FILES[:2])
    world.admin.node.create(FILES[1], object_file(b"created meanwhile"))
    world.call("restore_begin", approval=signed(), begun={}, growth={})
    with pytest.raises(KeyfoldError) as caught:
        world.call("restore_apply", approval=signed(), partition=PARTITION, objects=rows)
    assert caught.value.code == "conflict"
    assert committed(world.admin.store) == {FILES[1]: object_file(b"created meanwhile")[8:]}


def arranged(world: World) -> None:
    """Something of everything: live and other, destroyed, purged, and not in the backup."""
    node = world.admin.node
    for file in FILES[:40]:
        node.create(file, object_file(b"other"))
    for file in FILES[20:40]:
        node.destroy(file)
    world.admin.store.txn(
        (), [Delete(keys.invalidated(PARTITION, FILES[39])), Put(keys.purged(PARTITION, FILES[39]), b"purge")]
    )
    world.admin.store.txn((), [Put(keys.usage(PARTITION), counted(world.admin.store).encode())])
    for number in range(5):
        node.create(f"9{number:02}.object", object_file(b"late"))


def killed(world: World, at: int, *, done: bool) -> Iterator[None]:
    """The process dies in its `at`th transaction; `done`: that one was applied."""
    store, txn = world.admin.store, world.admin.store.txn
    calls = 0

    def dies(*arguments: Any, **options: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == at and done:
            txn(*arguments, **options)
        if calls >= at:
            raise KeyboardInterrupt
        return txn(*arguments, **options)

    store.txn = dies  # type: ignore[method-assign]
    yield
    store.txn = txn  # type: ignore[method-assign]


@pytest.mark.parametrize("done", [False, True], ids=["before", "after"])
@pytest.mark.parametrize("at", range(1, 6))
def test_killed_at_any_transaction_and_run_again_it_ends_in_the_same_state(tmp_path: Path, at: int, done: bool) -> None:
    """begin, three of objects, finish: killed before or after each of the five, then run again."""
    world = World(tmp_path)
    arranged(world)
    given = signed(mode="replace")
    walk = killed(world, at, done=done)
    next(walk)
    with pytest.raises(KeyboardInterrupt):
        world.restore(given, FILES)
    next(walk, None)
    world.restore(given, FILES)
    world.admin.node.catch_up()
    assert world.admin.node.content() == {file: data[8:] for file, data in world.backup.items()}
    assert set(invalidated(world.admin.store)) == {f"9{number:02}.object" for number in range(5)}
    assert usage(world.admin.store) == counted(world.admin.store)
    assert list(world.admin.store.scan(keys.purged(PARTITION))) == []
    record = json.loads(next(iter(world.admin.store.scan(keys.records("restore")))).value)
    assert record["finished"]
    before = world.admin.store.revision()
    assert world.restore(given, FILES) == {}
    assert world.admin.store.revision() == before
