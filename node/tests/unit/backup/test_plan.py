from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.backup.cluster import LiveObject, Partition
from keyfold.backup.plan import PublishedSet, differences, eligible, next_in_chain
from keyfold.config import Package
from keyfold.errors import KeyfoldError

PACKAGES = {
    "SBX": Package("SBX", 1, "never"),
    "ECO": Package("ECO", 1, "always"),
    "PLATINUM": Package("PLATINUM", 1, "order"),
}


def partition(name: str, package: str, *, backup: bool) -> Partition:
    return Partition(name, "uuid", "token", package, backup, 0, 0, {})


PARTITIONS = [
    partition("eco", "ECO", backup=True),
    partition("ordered", "PLATINUM", backup=True),
    partition("plain", "PLATINUM", backup=False),
    partition("sandbox", "SBX", backup=True),
]


def test_package_and_order_decide_who_is_backed_up() -> None:
    assert [one.name for one in eligible(PARTITIONS, PACKAGES)] == ["eco", "ordered"]


def test_who_is_asked_for_is_taken_alone() -> None:
    assert [one.name for one in eligible(PARTITIONS, PACKAGES, ["ordered", "ordered"])] == ["ordered"]


@pytest.mark.parametrize(
    ("asked", "code", "named"),
    [
        (["plain"], "invalid", "plain"),
        (["eco", "sandbox"], "invalid", "sandbox"),
        (["nobody", "eco"], "not_found", "nobody"),
    ],
)
def test_who_is_not_entitled_is_refused_by_name(asked: list[str], code: str, named: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        eligible(PARTITIONS, PACKAGES, asked)
    assert (caught.value.code, named in caught.value.what) == (code, True)


def test_an_unknown_package_stops_the_run_instead_of_dropping_a_partition() -> None:
    with pytest.raises(KeyfoldError, match="GOLD"):
        eligible([*PARTITIONS, partition("new", "GOLD", backup=True)], PACKAGES)


published = st.lists(st.builds(PublishedSet, st.integers(1, 50), st.text(max_size=4)))


@given(published, published)
def test_a_set_follows_the_newest_that_etcd_or_the_store_knows(
    recorded: list[PublishedSet], stored: list[PublishedSet]
) -> None:
    sequence, previous = next_in_chain(recorded, stored)
    known = [*recorded, *stored]
    assert sequence == 1 + max((one.sequence for one in known), default=0)
    assert not known or PublishedSet(sequence - 1, previous) in known
    assert known or previous == ""


def live(**revisions: int) -> dict[str, LiveObject]:
    return {file: LiveObject(file, "now", revision) for file, revision in revisions.items()}


@pytest.mark.parametrize(
    ("snapshot", "local", "now", "kinds"),
    [
        ({"a": "1"}, {"a": "1"}, live(a=5), []),
        ({"a": "1"}, {"a": "2"}, live(a=5), ["changed"]),
        ({"a": "1"}, {}, live(a=5), ["missing"]),
        ({}, {"a": "1"}, {}, ["extra"]),
        ({"a": "1"}, {"a": ""}, live(a=5), ["changed"]),
        # Committed after the snapshot's revision: changed, destroyed, created.
        ({"a": "1"}, {"a": "2"}, live(a=11), []),
        ({"a": "1"}, {}, {}, []),
        ({}, {"a": "1"}, live(a=11), []),
        # Committed before, and still not here.
        ({"a": "1", "b": "1"}, {"b": "1"}, live(a=10, b=9), ["missing"]),
    ],
)
def test_only_what_was_committed_by_then_counts_as_a_difference(
    snapshot: dict[str, str], local: dict[str, str], now: dict[str, LiveObject], kinds: list[str]
) -> None:
    found = differences("acme", snapshot, local, now, revision=10)
    assert [one.kind for one in found] == kinds
    assert all(one.partition == "acme" for one in found)
