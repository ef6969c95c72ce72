"""What a declaration becomes, and every way in which a bad one is refused by name with nothing planned."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.config import Package
from keyfold.errors import KeyfoldError
from keyfold.partition.plan import Change, plan

PACKAGES = {
    "SBX": Package("SBX", 1000, "never"),
    "ECO": Package("ECO", 1000, "always"),
    "PLATINUM": Package("PLATINUM", 9000, "order"),
}
AGE_KEY = "age1ql3z7hjy54pw3hyww5ayyfg7zqgvc7w3j2elw8zmrj2kg5sfn9aqmcac8p"
SSH_KEY = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIFkuHmc5mw7PX/2DgSN7/X4eZndY8qZN8DBZoEX8YRbK"
ECDSA_KEY = (
    "ecdsa-sha2-nistp256 AAAAE2VjZHNhLXNoYTItbmlzdHAyNTYAAAAIbmlzdHAyNTYAAABBBNq86AbGWRQoF9FImjpzDtwPi7yy"
    "Xy7hUs29NJAyySX/CSQPBxmtuopfFSZNFP+xNDaGxXIprkagA63bW1xSNNM="
)


def declared(name: object = "acme", package: str = "ECO", **more: Any) -> dict[str, Any]:
    return {"name": name, "package": package, "subscriber_key": AGE_KEY, **more}


def one(row: dict[str, Any], current: dict[str, Any] | None = None) -> Change:
    (change,) = plan([row], current or {}, PACKAGES)
    return change


def refused(*rows: dict[str, Any]) -> str:
    with pytest.raises(KeyfoldError) as caught:
        plan(rows, {}, PACKAGES)
    assert caught.value.code == "invalid"
    assert caught.value.not_done
    assert caught.value.next_step
    return caught.value.what


def test_a_new_partition_is_created_with_every_policy_spelled_out() -> None:
    change = one(declared(policy={"key_extract": True}))
    assert change.action == "create"
    assert change.before == {}
    assert change.after["policy"]["key_extract"] is True
    assert change.after["policy"]["key_invalidation"] is True
    assert change.after["policy"]["max_size_bytes"] == 1000
    assert change.after["backup"] is True


def test_the_same_declaration_again_changes_nothing_and_needs_no_key() -> None:
    there = {"acme": one(declared()).after}
    assert one({"name": "acme", "package": "ECO"}, there).action == "none"


def test_drift_is_an_update_that_shows_before_and_after() -> None:
    there = {"acme": one(declared()).after}
    change = one(declared(policy={"key_invalidation": False}), there)
    assert change.action == "update"
    assert change.before["policy"]["key_invalidation"] is True
    assert change.after["policy"]["key_invalidation"] is False


@pytest.mark.parametrize(
    "name", ["", "a", "Acme", "1acme", "acme-", "ac me", "acme/../x", "acmé", "a" * 29, None, 7, "ac\nme"]
)
def test_an_illegal_name_is_refused(name: object) -> None:
    assert "name" in refused(declared(name))


def test_the_clusters_own_name_is_refused() -> None:
    assert "system" in refused(declared("system"))


def test_a_name_declared_twice_is_refused() -> None:
    assert "twice" in refused(declared(), declared())


def test_an_unknown_package_is_refused() -> None:
    assert "GOLD" in refused(declared(package="GOLD"))


def test_an_unknown_key_is_refused() -> None:
    assert "colour" in refused(declared(colour="red"))


def test_a_new_partition_without_a_key_to_seal_its_pin_to_is_refused() -> None:
    what = refused({"name": "acme", "package": "ECO"})
    assert "acme" in what
    assert "subscriber_key" in what


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "not an age recipient"),
        (7, "not an age recipient"),
        ("age1short", "whole"),
        ("AGE-SECRET-KEY-1QQQ", "secret key"),
        (ECDSA_KEY, "ecdsa-sha2-nistp256"),
        ("ssh-ed25519 AAAA", "whole"),
    ],
)
def test_a_key_that_age_cannot_seal_to_is_refused_with_the_reason(key: object, why: str) -> None:
    what = refused(declared(subscriber_key=key))
    assert "subscriber_key" in what
    assert why in what


def test_an_ssh_key_is_kept_without_its_comment() -> None:
    assert one(declared(subscriber_key=f"{SSH_KEY} jane@acme")).after["subscriber_key"] == SSH_KEY


def test_another_key_for_a_partition_that_exists_is_an_update() -> None:
    there = {"acme": one(declared()).after}
    change = one(declared(subscriber_key=SSH_KEY), there)
    assert (change.action, change.before["subscriber_key"]) == ("update", AGE_KEY)
    assert change.after["subscriber_key"] == SSH_KEY


def test_a_partition_from_before_there_were_keys_is_level_without_one() -> None:
    there = {key: value for key, value in one(declared()).after.items() if key != "subscriber_key"}
    assert one({"name": "acme", "package": "ECO"}, {"acme": there}).action == "none"
    assert one(declared(), {"acme": there}).action == "update"


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"key_exprot": True}, "key_exprot"),
        ({"key_export": "yes"}, "key_export"),
        ({"max_failures": True}, "max_failures"),
        ({"max_failures": 0}, "max_failures must be a whole number, 1 or more"),
        ({"window_seconds": 0}, "window_seconds must be a whole number, 1 or more"),
        ({"lock_seconds": 0}, "lock_seconds must be a whole number, 1 or more"),
        ({"lock_seconds": -1}, "lock_seconds"),
        ({"invalidation_days": -1}, "invalidation_days must be a whole number, 0 or more"),
        ({"max_size_bytes": 1001}, "max_size_bytes"),
        ({"key_export": True}, "key_extract"),
        ({"read_only": True, "key_import": True}, "read_only"),
        ({"read_only": True, "destroy_objects": True}, "read_only"),
        ({"key_export": True, "key_extract": True, "client_api_access": False}, "client_api_access"),
    ],
)
def test_a_policy_that_is_wrong_or_contradicts_itself_is_refused(policy: dict[str, Any], named: str) -> None:
    assert named in refused(declared(policy=policy))


def test_backup_is_ordered_only_where_the_package_leaves_the_choice() -> None:
    assert one(declared(package="PLATINUM", backup=True)).after["backup"] is True
    assert one(declared(package="PLATINUM")).after["backup"] is False
    assert one(declared(package="SBX")).after["backup"] is False
    assert "backup" in refused(declared(package="SBX", backup=True))


@given(st.lists(st.sampled_from(["acme", "beta", "gamma"]), unique=True))
def test_what_a_plan_would_leave_is_what_a_second_plan_finds(names: list[str]) -> None:
    rows = [declared(name) for name in names]
    after = {change.name: change.after for change in plan(rows, {}, PACKAGES)}
    assert all(change.action == "none" for change in plan(rows, after, PACKAGES))
