"""What the authority does next, for every reason there is to do something."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from keyfold_pki import (
    AUTHORITIES,
    BACKDATE,
    ETCD,
    PROFILES,
    ROOT,
    Action,
    Authority,
    Issue,
    Issued,
    PkiError,
    Policy,
    PublishRevocations,
    RevocationList,
    SignAuthority,
    State,
    Wanted,
    plan,
)

NOW = datetime(2026, 11, 24, tzinfo=UTC)
POLICY = Policy(
    ca_common_name="Keyfold CA",
    ca_days=3650,
    ca_renew_before_days=730,
    renew_before_days=60,
    crl_days=180,
    crl_renew_before_days=90,
)
ACME = Wanted("partition-acme", "partition", "acme", frozenset(), 397)
MEMBER = Wanted("etcd-hsm1", "etcd", None, frozenset({"hsm1", "127.0.0.1"}), 397)
EMPTY = State((), frozenset(), (), None)
ACME_SERIAL, MEMBER_SERIAL = "a" * 40, "b" * 40


def issued(wanted: Wanted, serial: str, **changes: Any) -> Issued:
    profile = PROFILES[wanted.profile]
    return replace(
        Issued(
            name=wanted.name,
            serial=serial,
            organizational_unit=profile.organizational_unit,
            common_name=wanted.common_name,
            sans=wanted.sans,
            server=profile.server,
            client=profile.client,
            not_before=NOW - BACKDATE,
            not_after=NOW - BACKDATE + timedelta(days=wanted.days),
            authority_key_id=profile.authority,
            current=True,
            key_matches=True,
        ),
        **changes,
    )


def authority(name: str, **changes: Any) -> Authority:
    return replace(
        Authority(name, POLICY.common_name_of(name), name, NOW, NOW + timedelta(days=POLICY.ca_days)), **changes
    )


def settled(**changes: Any) -> State:
    """Everything ACME and MEMBER ask for."""
    return replace(
        State(
            authorities=tuple(authority(name) for name in AUTHORITIES),
            authority_keys=frozenset(AUTHORITIES),
            issued=(issued(ACME, ACME_SERIAL), issued(MEMBER, MEMBER_SERIAL)),
            revocations=RevocationList(frozenset(), NOW + timedelta(days=POLICY.crl_days)),
        ),
        **changes,
    )


def planned(
    state: State, *wanted: Wanted, revoked: tuple[str, ...] = (), policy: Policy = POLICY, now: datetime = NOW
) -> list[Action]:
    return plan(wanted or (ACME, MEMBER), revoked, policy, state, now)


def kinds(actions: list[Action]) -> list[str]:
    return [action.wanted.name if isinstance(action, Issue) else type(action).__name__ for action in actions]


def revocations(actions: list[Action]) -> list[frozenset[str]]:
    return [action.serials for action in actions if isinstance(action, PublishRevocations)]


def test_an_empty_directory_gets_authorities_then_certificates_then_a_revocation_list() -> None:
    actions = planned(EMPTY)
    assert kinds(actions) == [
        "SignAuthority",
        "SignAuthority",
        "partition-acme",
        "etcd-hsm1",
        "PublishRevocations",
    ]
    assert [action.name for action in actions if isinstance(action, SignAuthority)] == [ROOT, ETCD]


def test_nothing_is_done_when_everything_is_as_wanted() -> None:
    assert planned(settled()) == []


def test_a_certificate_that_nobody_asks_for_any_more_is_left_alone() -> None:
    assert planned(settled(), ACME) == []


@pytest.mark.parametrize(("days_before_the_end", "renewed"), [(61, False), (60, True), (-1, True)])
def test_certificates_are_replaced_before_they_end(days_before_the_end: int, renewed: bool) -> None:
    now = issued(ACME, ACME_SERIAL).not_after - timedelta(days=days_before_the_end)
    state = settled(revocations=RevocationList(frozenset(), now + timedelta(days=180)))
    assert kinds(planned(state, ACME, now=now)) == (["partition-acme"] if renewed else [])


@pytest.mark.parametrize(
    ("wanted", "what"),
    [
        (replace(ACME, common_name="acme2"), "common name"),
        (replace(MEMBER, sans=frozenset({"hsm1", "10.0.0.1"})), "names"),
        (replace(ACME, days=90), "lifetime"),
        (replace(ACME, profile="store"), "organizational unit"),
        (replace(MEMBER, profile="etcd_client"), "usage"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_certificates_are_replaced_when_what_is_asked_for_changes(wanted: Wanted, what: str) -> None:
    (action,) = planned(settled(), wanted)
    assert isinstance(action, Issue)
    assert what in action.reason


def test_the_spelling_of_an_address_or_name_is_no_change() -> None:
    spelled = replace(MEMBER, sans=frozenset({"HSM1", "::0:1"}))
    assert planned(settled(issued=(issued(spelled, MEMBER_SERIAL, sans=frozenset({"hsm1", "::1"})),)), spelled) == []


@pytest.mark.parametrize("change", [{"key_matches": False}, {"authority_key_id": "another"}, {"current": False}])
def test_a_certificate_that_cannot_be_used_is_replaced(change: dict[str, Any]) -> None:
    assert kinds(planned(settled(issued=(issued(ACME, ACME_SERIAL, **change),)), ACME)) == ["partition-acme"]


def test_a_revoked_serial_is_published_and_its_certificate_replaced() -> None:
    actions = planned(settled(), revoked=(ACME_SERIAL,))
    assert kinds(actions) == ["partition-acme", "PublishRevocations"]
    assert revocations(actions) == [{ACME_SERIAL}]


def test_a_revoked_name_loses_everything_ever_issued_and_gets_nothing_new() -> None:
    older = issued(ACME, "c" * 40, current=False, key_matches=False)
    state = settled(issued=(*settled().issued, older))
    actions = planned(state, revoked=("partition-acme",))
    assert kinds(actions) == ["PublishRevocations"]
    assert revocations(actions) == [{ACME_SERIAL, "c" * 40}]


def test_a_name_that_is_no_longer_revoked_gets_a_new_certificate_and_the_old_one_stays_dead() -> None:
    state = settled(revocations=RevocationList(frozenset({ACME_SERIAL}), NOW + timedelta(days=180)))
    actions = planned(state)
    assert kinds(actions) == ["partition-acme"]
    assert revocations(actions) == []


@pytest.mark.parametrize(("days_left", "signed"), [(91, False), (90, True), (-1, True)])
def test_the_revocation_list_is_signed_again_before_it_is_out_of_date(days_left: int, signed: bool) -> None:
    state = settled(revocations=RevocationList(frozenset(), NOW + timedelta(days=days_left)))
    assert kinds(planned(state)) == (["PublishRevocations"] if signed else [])


def test_an_authority_that_nears_its_end_is_signed_again_and_its_certificates_stay() -> None:
    state = settled(authorities=tuple(authority(name, not_after=NOW + timedelta(days=729)) for name in AUTHORITIES))
    actions = planned(state)
    assert kinds(actions) == ["SignAuthority", "SignAuthority"]


def test_the_authority_of_etcd_ends_with_the_one_that_signed_it() -> None:
    state = settled(authorities=(authority(ROOT), authority(ETCD, not_after=NOW + timedelta(days=900))))
    (action,) = planned(state)
    assert isinstance(action, SignAuthority)
    assert (action.name, action.not_after) == (ETCD, authority(ROOT).not_after)


def test_no_certificate_outlives_its_authority_and_none_is_renewed_in_vain() -> None:
    policy = replace(POLICY, ca_renew_before_days=0)
    ends = NOW + timedelta(days=30)
    state = settled(authorities=tuple(authority(name, not_after=ends) for name in AUTHORITIES), issued=())
    (action,) = planned(state, ACME, policy=policy)
    assert isinstance(action, Issue)
    assert action.not_after == ends
    assert planned(replace(state, issued=(issued(ACME, ACME_SERIAL, not_after=ends),)), ACME, policy=policy) == []


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ((ACME, ACME), "declared twice"),
        ((replace(ACME, name="../acme"),), "cannot name"),
        ((replace(ACME, name="a" * 40),), "cannot name"),
        ((replace(ACME, common_name=None),), "needs a common name"),
        ((replace(MEMBER, common_name="hsm1"),), "must not have a common name"),
        ((replace(MEMBER, sans=frozenset()),), "has no names"),
        ((replace(ACME, days=0),), "valid for 0 days"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_wish_that_contradicts_itself_is_refused(wanted: tuple[Wanted, ...], message: str) -> None:
    with pytest.raises(PkiError, match=message):
        planned(settled(), *wanted)


@pytest.mark.parametrize("entry", ["partition-acm", "d" * 40])
def test_revoking_what_was_never_issued_is_refused(entry: str) -> None:
    with pytest.raises(PkiError, match="no such certificate was ever issued"):
        planned(settled(), revoked=(entry,))


def test_another_inventorys_directory_is_refused() -> None:
    with pytest.raises(PkiError, match="the inventory asks for 'Other CA'"):
        planned(settled(), policy=replace(POLICY, ca_common_name="Other CA"))


@pytest.mark.parametrize("lost", [{"authorities": ()}, {}], ids=["certificate and key", "key"])
def test_a_lost_authority_is_never_replaced_in_silence(lost: dict[str, Any]) -> None:
    state = settled(authority_keys=frozenset({ETCD}), **lost)
    with pytest.raises(PkiError, match=r"ca\.key is not there"):
        planned(state, replace(ACME, days=90))


def test_a_lost_key_is_no_matter_while_nothing_is_to_be_signed() -> None:
    assert planned(settled(authority_keys=frozenset())) == []
