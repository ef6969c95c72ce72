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
PINS = {"initial_pin": "a-good-pin", "initial_so_pin": "another-pin"}


def declared(name: object = "acme", package: str = "ECO", **more: Any) -> dict[str, Any]:
    return {"name": name, "package": package, **PINS, **more}


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


def test_the_same_declaration_again_changes_nothing_and_needs_no_pins() -> None:
    there = {"acme": one(declared()).after}
    assert one({"name": "acme", "package": "ECO"}, there).action == "none"


def test_drift_is_an_update_that_shows_before_and_after() -> None:
    there = {"acme": one(declared()).after}
    change = one(declared(policy={"key_invalidation": False}), there)
    assert change.action == "update"
    assert change.before["policy"]["key_invalidation"] is True
    assert change.after["policy"]["key_invalidation"] is False


def test_pins_are_in_no_representation() -> None:
    change = one(declared())
    assert "a-good-pin" not in repr(change) + str(change.as_reply())
    assert "another-pin" not in repr(change) + str(change.as_reply())


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


@pytest.mark.parametrize("which", list(PINS))
@pytest.mark.parametrize("pin", ["1234567", "", None, "x" * 256, "tab\tinside"])
def test_a_weak_or_unusable_pin_is_refused_without_repeating_it(which: str, pin: str | None) -> None:
    what = refused({**declared(), which: pin})
    assert which in what
    assert not pin or pin not in what


@pytest.mark.parametrize(
    ("policy", "named"),
    [
        ({"key_exprot": True}, "key_exprot"),
        ({"key_export": "yes"}, "key_export"),
        ({"max_failures": True}, "max_failures"),
        ({"lock_seconds": -1}, "lock_seconds"),
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
