"""A snapshot whose history is compacted while it is read ends with an error, never early and never torn."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from support.admin import ROOT, Admin
from support.memory_cluster import PARTITION, object_file

from keyfold.agent.admin import AdminOperations
from keyfold.agent.partitions import Partitions
from keyfold.backup.cluster import ClusterState
from keyfold.errors import KeyfoldError
from keyfold.json_bytes import canonical
from keyfold.replication import keys
from keyfold.store.errors import Compacted
from keyfold.store.interface import Put
from keyfold.token.object_file import identity


class Agent:
    """The snapshot alone; `between` happens after its first reply."""

    def __init__(self, admin: Admin, between: Any) -> None:
        service: Any = admin.service
        partitions = Partitions(service)
        unused: Any = None
        self._table = AdminOperations(service, unused, partitions).table()
        self._between = between

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        return dict(self._table[op](ROOT, params))  # type: ignore[arg-type]

    def stream(self, op: str, **params: Any) -> Any:
        replies: Any = self._table[op](ROOT, params)
        for at, reply in enumerate(replies):
            yield reply
            if at == 0:
                self._between()


@pytest.fixture
def admin(tmp_path: Path) -> Admin:
    made = Admin(tmp_path)
    row = {
        "name": PARTITION,
        "uuid": "u",
        "token_uuid": "t",
        "package": "ECO",
        "policy": made.policy,
        "backup": False,
        "created": "2026-01-01T00:00:00.000000Z",
    }
    made.store.txn((), [Put(keys.partition(PARTITION), json.dumps(row).encode())])
    made.node.create("a.object", object_file(b"1"))
    return made


def test_without_a_compaction_it_is_whole_although_the_cluster_moves_on(admin: Admin) -> None:
    agent = Agent(admin, lambda: admin.node.create("b.object", object_file(b"2")))
    _, _, objects = ClusterState(agent).snapshot([PARTITION])
    assert [item.file for item in objects] == ["a.object"]


def test_an_object_is_described_as_the_node_committed_it_and_one_that_moved_on_is_left_to_be_asked_for(
    admin: Admin,
) -> None:
    admin.node.create("b.object", object_file(b"2"))
    agent = Agent(admin, lambda: admin.node.update("b.object", object_file(b"3")))
    cluster = ClusterState(agent)
    revision, _, objects = cluster.snapshot([PARTITION])
    first, second = list(objects)
    assert first.digest == identity(object_file(b"1"))
    assert json.loads(first.meta)["class"] == 4
    assert first.meta.encode() == canonical(json.loads(first.meta))
    assert (second.file, second.digest) == ("b.object", None)
    assert cluster.object_at(PARTITION, "b.object", revision).data[8:] == object_file(b"2")[8:]
    with pytest.raises(KeyfoldError) as caught:
        cluster.object_at(PARTITION, "c.object", revision)
    assert caught.value.code == "not_found"


def test_a_compaction_in_between_is_an_error(admin: Admin) -> None:
    def compact() -> None:
        admin.node.create("b.object", object_file(b"2"))
        admin.store.compact(admin.store.revision())

    _, _, objects = ClusterState(Agent(admin, compact)).snapshot([PARTITION])
    with pytest.raises(Compacted) as caught:
        list(objects)
    assert isinstance(caught.value, KeyfoldError)
