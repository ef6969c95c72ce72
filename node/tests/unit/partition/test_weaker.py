"""Which way a policy changes decides whether the officers are asked."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.package import Package
from keyfold.partition.policy import DEFAULT_POLICY
from keyfold.partition.weaker import direction, package_direction, subject

POLICY = {**DEFAULT_POLICY, "max_size_bytes": 1000}
WEAKER = [
    ("key_import", False, True),
    ("key_export", False, True),
    ("key_extract", False, True),
    ("key_invalidation", True, False),
    ("read_only", True, False),
    ("session_objects", False, True),
    ("destroy_objects", False, True),
    ("use_objects", False, True),
    ("client_api_access", False, True),
    ("invalidation_days", 90, 30),
    ("invalidation_days", 0, 3650),
    ("max_failures", 100, 101),
    ("window_seconds", 300, 299),
    ("lock_seconds", 300, 1),
]
switches = st.booleans()
numbers = st.integers(0, 1000)
policies = st.fixed_dictionaries(
    {key: switches if isinstance(value, bool) else numbers for key, value in POLICY.items()}
)


@pytest.mark.parametrize(("key", "strict", "lax"), WEAKER)
def test_one_way_is_weaker_and_the_other_stronger(key: str, strict: bool | int, lax: bool | int) -> None:
    there, back = ({**POLICY, key: value} for value in (strict, lax))
    assert direction(there, back).weaker == {key: lax}
    assert direction(there, back).stronger == {}
    assert direction(back, there).stronger == {key: strict}
    assert direction(back, there).weaker == {}


def test_every_key_but_the_quota_has_a_direction() -> None:
    assert {key for key, _, _ in WEAKER} == set(POLICY) - {"max_size_bytes"}


@pytest.mark.parametrize("bytes_", [1, 5000])
def test_the_quota_is_an_order_and_no_protection(bytes_: int) -> None:
    way = direction(POLICY, {**POLICY, "max_size_bytes": bytes_})
    assert (way.weaker, way.stronger, way.neutral) == ({}, {}, {"max_size_bytes": bytes_})


def test_a_change_both_ways_asks_for_the_weakened_keys_only() -> None:
    way = direction(POLICY, {**POLICY, "key_extract": True, "key_export": True, "key_import": False})
    assert subject(way.weaker) == {"policy": {"key_export": True, "key_extract": True}}
    assert way.stronger == {"key_import": False}


def package(name: str, *mechanisms: str, max_size_bytes: int = 1000) -> Package:
    return Package(name, max_size_bytes, "always", mechanisms)


ALL = package("ECO")
FEW = package("ECO_CC", "CKM_ECDSA", "CKM_SHA256")


@pytest.mark.parametrize(
    ("strict", "lax"),
    [(FEW, ALL), (package("ONE", "CKM_ECDSA"), FEW), (FEW, None)],
    ids=["lifted", "widened", "unknown since"],
)
def test_a_package_with_more_mechanisms_is_weaker_and_back_is_stronger(strict: Package, lax: Package | None) -> None:
    if lax is not None:
        assert package_direction(strict, lax).weaker == {"package": lax.name}
    way = package_direction(lax, strict)
    assert (way.weaker, way.stronger) == ({}, {"package": strict.name})


def test_a_package_with_other_mechanisms_is_weaker_whatever_it_lacks() -> None:
    assert package_direction(FEW, package("RSA", "CKM_RSA_PKCS")).weaker == {"package": "RSA"}


@pytest.mark.parametrize("before", [ALL, None])
def test_a_package_with_another_quota_is_an_order(before: Package | None) -> None:
    way = package_direction(before, package("PLATINUM", max_size_bytes=9000))
    assert (way.weaker, way.stronger, way.neutral) == ({}, {}, {"package": "PLATINUM"})


def test_the_request_names_a_weaker_package_beside_what_weakens_in_the_policy() -> None:
    weaker = package_direction(FEW, ALL).weaker
    assert subject(weaker) == {"package": "ECO"}
    assert subject({**weaker, "key_extract": True}) == {"package": "ECO", "policy": {"key_extract": True}}


def test_a_key_that_an_older_row_lacks_counts_as_its_default() -> None:
    old = {key: value for key, value in POLICY.items() if key != "key_export"}
    assert direction(old, POLICY) == direction(POLICY, POLICY)
    assert direction(old, {**POLICY, "key_export": True}).weaker == {"key_export": True}


@given(policies, policies)
def test_what_is_weaker_there_is_stronger_back(left: dict[str, bool | int], right: dict[str, bool | int]) -> None:
    there, back = direction(left, right), direction(right, left)
    assert set(there.weaker) == set(back.stronger)
    assert set(there.weaker) | set(there.stronger) | set(there.neutral) == {
        key for key in POLICY if left[key] != right[key]
    }


@given(policies, policies, policies)
def test_no_detour_over_stronger_changes_alone_gets_anywhere_weaker(
    first: dict[str, bool | int], second: dict[str, bool | int], third: dict[str, bool | int]
) -> None:
    if not direction(first, second).weaker and not direction(second, third).weaker:
        assert not direction(first, third).weaker
