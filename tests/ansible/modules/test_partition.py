from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.basic import AnsibleModule

from keyfold.partition.policy import DEFAULT_POLICY

KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
ACME = {"name": "acme", "package": "ECO", "subscriber_key": KEY}


def test_new_partition_changes_once_and_check_mode_agrees(run: Any, fake: Any) -> None:
    results = [run("keyfold_partition", check=check, partitions=[ACME]) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert [result["changes"][0]["action"] for result in results] == ["create", "create", "none", "none"]
    assert results[0]["changes"] == results[1]["changes"]
    assert list(fake.state["partitions"]) == ["acme"]


def test_check_mode_creates_nothing(run: Any, fake: Any) -> None:
    run("keyfold_partition", check=True, partitions=[ACME])
    assert fake.state["partitions"] == {}


def test_diff_shows_what_differs_and_nothing_else(run: Any) -> None:
    run("keyfold_partition", partitions=[ACME, {**ACME, "name": "globex"}])
    changed = run(
        "keyfold_partition", partitions=[{**ACME, "policy": {"invalidation_days": 365}}, {**ACME, "name": "globex"}]
    )
    assert set(changed["diff"]["before"]) == {"acme"}
    assert changed["diff"]["before"]["acme"]["policy"]["invalidation_days"] == DEFAULT_POLICY["invalidation_days"]
    assert changed["diff"]["after"]["acme"]["policy"]["invalidation_days"] == 365
    unchanged = run("keyfold_partition", partitions=[{**ACME, "policy": {"invalidation_days": 365}}])
    assert "diff" not in unchanged


def test_drift_made_outside_is_corrected(run: Any, fake: Any) -> None:
    run("keyfold_partition", partitions=[ACME])
    drifted = fake.state["partitions"]
    drifted["acme"]["policy"]["key_export"] = drifted["acme"]["policy"]["key_extract"] = True
    fake.set(partitions=drifted)
    results = [run("keyfold_partition", check=check, partitions=[ACME]) for check in (True, False, True, False)]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert results[0]["changes"][0]["action"] == "update"
    assert fake.state["partitions"]["acme"]["policy"]["key_export"] is False


def test_a_hundred_partitions_are_one_call(run: Any, fake: Any) -> None:
    run("keyfold_partition", wait_seconds=0, partitions=[{**ACME, "name": f"p{n}"} for n in range(10, 110)])
    assert fake.calls == [["partition", "apply"]]
    assert len(fake.state["partitions"]) == 100


def test_existing_partition_needs_no_key(run: Any) -> None:
    run("keyfold_partition", partitions=[ACME])
    assert run("keyfold_partition", partitions=[{"name": "acme", "package": "ECO"}])["changed"] is False


@pytest.mark.parametrize(
    ("declared", "named"),
    [
        ({"name": "Acme"}, "Acme"),
        ({"name": "system"}, "system"),
        ({"package": "GOLD"}, "GOLD"),
        ({"subscriber_key": "age1short"}, "subscriber_key"),
        ({"policy": {"key_export": True}}, "key_export"),
        ({"backup": False}, "backup"),
    ],
)
def test_wrong_declaration_is_named_and_nothing_is_made(
    run: Any, fake: Any, declared: dict[str, Any], named: str
) -> None:
    result = run("keyfold_partition", partitions=[{**ACME, "name": "fine"}, {**ACME, **declared}])
    assert result["failed"]
    assert result["code"] == "invalid"
    assert result["exit_code"] == 2
    what, not_done, next_step = result["msg"].split("\n")
    assert named in what
    assert not_done == "Not done: no partition was created or changed"
    assert next_step.startswith("Next: ")
    assert fake.state["partitions"] == {}


def test_a_partition_declared_twice_is_refused(run: Any) -> None:
    assert "twice" in run("keyfold_partition", partitions=[ACME, ACME])["msg"]


def test_unknown_policy_key_is_refused_before_the_node_is_asked(run: Any, fake: Any) -> None:
    result = run("keyfold_partition", partitions=[{**ACME, "policy": {"key_exprot": True}}])
    assert result["failed"]
    assert fake.calls == []


def test_every_policy_key_of_the_node_has_a_type_here(run: Any) -> None:
    policy = {**DEFAULT_POLICY, "max_size_bytes": 1000}
    after = run("keyfold_partition", partitions=[{**ACME, "policy": policy}])["changes"][0]["after"]
    assert after["policy"] == policy


def test_waits_until_every_live_node_has_the_change(run: Any, fake: Any) -> None:
    fake.set(lags=[1, 1])
    assert run("keyfold_partition", partitions=[ACME])["changed"]
    assert fake.calls == [["partition", "apply"], *[["status"]] * 3]


def test_a_node_that_stays_behind_is_named(run: Any, fake: Any) -> None:
    fake.set(lags=[1] * 100)
    result = run("keyfold_partition", partitions=[ACME], wait_seconds=1)
    assert result["failed"]
    assert "hsm1 (at 10), hsm2 (at 10)" in result["msg"]
    assert "hsm3" not in result["msg"]


def test_without_a_change_nothing_is_waited_for(run: Any, fake: Any) -> None:
    run("keyfold_partition", partitions=[ACME])
    before = len(fake.calls)
    run("keyfold_partition", partitions=[ACME])
    assert fake.calls[before:] == [["partition", "apply"]]


def test_check_mode_on_a_bare_host_takes_everything_to_be_new(
    run: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warned.append(text))
    result = run("keyfold_partition", check=True, command=str(tmp_path / "nothing"), partitions=[ACME])
    assert result["changed"] is True
    assert result["changes"][0]["action"] == "create"
    assert warned[0].endswith("check mode takes every partition to be new")


def test_missing_command_fails_outside_check_mode(run: Any, tmp_path: Path) -> None:
    result = run("keyfold_partition", command=str(tmp_path / "nothing"), partitions=[ACME])
    assert result["failed"]
    assert "site.yml" in result["msg"]


def test_the_nodes_refusal_reaches_the_operator_whole(run: Any, fake: Any) -> None:
    refusal = {"ok": False, "code": "no_quorum", "exit_code": 5, "what": "W", "not_done": "N", "next": "X"}
    fake.set(failures=[refusal])
    result = run("keyfold_partition", partitions=[ACME])
    assert (result["msg"], result["code"], result["exit_code"]) == ("W\nNot done: N\nNext: X", "no_quorum", 5)


def test_an_answer_that_is_not_json_is_an_error_without_its_text(run: Any, tmp_path: Path) -> None:
    broken = tmp_path / "broken"
    broken.write_text("#!/bin/sh\ncat\necho a-secret-4711\nexit 3\n")
    broken.chmod(0o700)
    result = run("keyfold_partition", command=str(broken), partitions=[ACME])
    assert result["failed"]
    assert "a-secret-4711" not in str(result)


LAX = {"key_extract": True}
APPROVAL = {"request": "a2luZDogcG9saWN5Cg==", "signatures": ["-----BEGIN SSH SIGNATURE-----"]}


def test_a_weaker_policy_needs_approval_and_check_mode_says_so(
    run: Any, fake: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # Ansible says the same warning once in a process; other tests may have had it.
    warned: list[str] = []
    monkeypatch.setattr(AnsibleModule, "warn", lambda _, text: warned.append(text))
    run("keyfold_partition", partitions=[ACME])
    weaker = {**ACME, "policy": LAX}
    planned = run("keyfold_partition", check=True, partitions=[weaker])
    assert planned["changed"]
    assert planned["changes"][0]["needs_approval"]
    assert planned["changes"][0]["weaker"] == LAX
    assert warned == ["acme: a weaker policy (key_extract=True) needs officers' approval, see docs/policy.md"]
    refused = run("keyfold_partition", partitions=[weaker])
    assert (refused["failed"], refused["code"], refused["exit_code"]) == (True, "unapproved", 13)
    assert fake.state["partitions"]["acme"]["policy"]["key_extract"] is False


def test_an_approval_reaches_the_node_over_standard_input(run: Any, fake: Any) -> None:
    run("keyfold_partition", partitions=[ACME])
    weaker = {**ACME, "policy": LAX}
    results = [
        run("keyfold_partition", check=check, partitions=[weaker], approvals=[APPROVAL])
        for check in (True, False, True, False)
    ]
    assert [result["changed"] for result in results] == [True, True, False, False]
    assert fake.state["approvals"] == [APPROVAL]
    assert all("SIGNATURE" not in str(call) for call in fake.calls)


def test_a_stronger_policy_needs_no_approval(run: Any) -> None:
    run("keyfold_partition", partitions=[{**ACME, "policy": LAX}])
    result = run("keyfold_partition", partitions=[{**ACME, "policy": {"key_extract": False}}])
    assert result["changed"]
    assert result["changes"][0]["needs_approval"] is False
