"""The officers' set through the agent's operations, with requests signed by the twin's signatures."""

from __future__ import annotations

import json
from types import SimpleNamespace
from typing import Any, cast

import pytest
from support.approvals import CLUSTER, NOW, OFFICERS, approval, public_key, request
from support.clocks import StillClock

from keyfold.agent.officers import OfficersOperations
from keyfold.agent.service import Service
from keyfold.approval.memory import MemoryVerifier
from keyfold.errors import KeyfoldError
from keyfold.replication import keys
from keyfold.store.interface import Put
from keyfold.store.memory import MemoryStore

DECLARED = OFFICERS.as_row()
STRONGER = {**DECLARED, "required": 3}


@pytest.fixture
def store() -> MemoryStore:
    store = MemoryStore()
    store.txn((), [Put(keys.CLUSTER, json.dumps({"uuid": CLUSTER}).encode())])
    return store


@pytest.fixture
def officers(store: MemoryStore) -> OfficersOperations:
    config = SimpleNamespace(node="hsm1", cluster_uuid=CLUSTER)
    service = SimpleNamespace(store=store, clock=StillClock(NOW), config=config)
    return OfficersOperations(cast(Service, service), MemoryVerifier())


def audited(store: MemoryStore) -> list[dict[str, Any]]:
    found = [json.loads(item.value) for item in store.scan(keys.AUDIT_PENDING)]
    return sorted(found, key=lambda entry: str(entry["what"]))


def test_check_changes_nothing_then_apply_changes_once(store: MemoryStore, officers: OfficersOperations) -> None:
    actions = [officers.apply(DECLARED, check=check)["action"] for check in (True, False, True, False)]
    assert actions == ["create", "create", "none", "none"]
    assert [entry["what"] for entry in audited(store)] == ["officers create"]


def test_a_change_needs_the_current_officers_and_says_who_approved(
    store: MemoryStore, officers: OfficersOperations
) -> None:
    officers.apply(DECLARED, check=False)
    with pytest.raises(KeyfoldError) as caught:
        officers.apply(STRONGER, check=False)
    assert caught.value.code == "unapproved"
    assert officers.apply(STRONGER, check=True)["action"] == "update"
    given = approval(request("officers", **STRONGER), "ada", "linus")
    assert officers.apply({**STRONGER, "approval": given}, check=False)["approved_by"] == ["ada", "linus"]
    assert audited(store)[-1]["approved_by"] == ["ada", "linus"]
    with pytest.raises(KeyfoldError, match="kind: purge, not officers"):
        officers.apply({**DECLARED, "approval": approval(request("purge"), "ada", "linus", "grace")}, check=False)


def test_new_officers_cannot_approve_themselves(officers: OfficersOperations) -> None:
    officers.apply(DECLARED, check=False)
    eve = {"officers": [{"name": "eve", "key": public_key(9)}], "required": 1}
    given = approval(request("officers", **eve), "eve", officers={"eve": public_key(9)})
    with pytest.raises(KeyfoldError, match="its key is not one of the officers'"):
        officers.apply({**eve, "approval": given}, check=False)


def test_an_approval_can_be_looked_at_without_using_it_up(officers: OfficersOperations) -> None:
    officers.apply(DECLARED, check=False)
    raw = request("officers", **STRONGER)
    seen = officers.examine(approval(raw, "ada"))
    assert (seen["signed_by"], seen["required"], seen["kind"]) == (["ada"], 2, "officers")
    assert "signed by ada; needed: 2 of ada, grace, linus" in seen["problems"][0]
    given = approval(raw, "ada", "grace")
    assert officers.examine(given)["problems"] == []
    officers.apply({**STRONGER, "approval": given}, check=False)
    assert any("it was used at" in problem for problem in officers.examine(given)["problems"])


@pytest.mark.parametrize(
    ("changes", "complaint"), [({"expires": "2026-01-01T00:00:00Z"}, "expired"), ({"cluster": "x"}, "cluster: x")]
)
def test_a_look_names_what_keeps_a_request_from_being_used(
    officers: OfficersOperations, changes: dict[str, Any], complaint: str
) -> None:
    officers.apply(DECLARED, check=False)
    problems = officers.examine(approval(request("purge", "acme", **changes), "ada", "grace"))["problems"]
    assert len(problems) == 1
    assert complaint in problems[0]
