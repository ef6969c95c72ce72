# Copyright: the Keyfold authors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
"""What the cluster's certification authority should do next: a pure decision, no files, no keys.

`plan` compares the certificates an inventory asks for with those that were issued and answers with a list of
actions. Times are aware UTC datetimes, serials 40 lower-case hex digits, lifetimes whole days.
"""

from __future__ import annotations

import ipaddress
import re
from dataclasses import dataclass
from datetime import datetime, timedelta

# Certificates start a little in the past, so that a machine whose clock is behind accepts them at once.
BACKDATE = timedelta(minutes=5)

LEAF_NAME = re.compile(r"^[a-z0-9][a-z0-9.-]{0,62}$")
SERIAL = re.compile(r"^[0-9a-f]{40}$")


class PkiError(Exception):
    """What is wrong, what was not done because of it, and what to do next."""

    def __init__(self, what: str, *, not_done: str, next_step: str) -> None:
        super().__init__(f"{what}\nNot done: {not_done}\nNext: {next_step}")


# The authorities, each after the one that signs it. etcd trusts only its own: subscribers hold certificates of the
# other, and etcd cannot tell clients apart (3.5's check of a client's name breaks its JSON gateway).
ROOT, ETCD = "ca", "etcd-ca"
AUTHORITIES = (ROOT, ETCD)


@dataclass(frozen=True)
class Profile:
    """What a kind of certificate may be used for (docs/interfaces.md §1), and which authority signs it."""

    authority: str
    organizational_unit: str
    server: bool
    client: bool
    named: bool  # whether the subject has a common name; etcd's gateway refuses certificates that have one


PROFILES = {
    # A member answers clients and other members, dials other members, and its JSON gateway dials itself.
    "etcd": Profile(ETCD, "node", server=True, client=True, named=False),
    "etcd_client": Profile(ETCD, "node", server=False, client=True, named=False),
    "access": Profile(ROOT, "node", server=True, client=False, named=True),
    "store_server": Profile(ROOT, "node", server=True, client=False, named=True),
    "partition": Profile(ROOT, "partition", server=False, client=True, named=True),
    "store": Profile(ROOT, "store", server=False, client=True, named=True),
}


@dataclass(frozen=True)
class Wanted:
    """One leaf certificate as the inventory asks for it. `sans` are DNS names and IP addresses as text."""

    name: str
    profile: str
    common_name: str | None
    sans: frozenset[str]
    days: int


@dataclass(frozen=True)
class Issued:
    """One leaf certificate that the authority has signed."""

    name: str
    serial: str
    organizational_unit: str
    common_name: str | None
    sans: frozenset[str]
    server: bool
    client: bool
    not_before: datetime
    not_after: datetime
    authority_key_id: str
    current: bool  # the one that is given out under this name
    key_matches: bool  # its private key is on the controller


@dataclass(frozen=True)
class Authority:
    """A CA certificate."""

    name: str
    common_name: str
    key_id: str
    not_before: datetime
    not_after: datetime


@dataclass(frozen=True)
class RevocationList:
    """The CRL that is given out."""

    serials: frozenset[str]
    next_update: datetime


@dataclass(frozen=True)
class State:
    """Everything that is in the controller's directory."""

    authorities: tuple[Authority, ...]
    authority_keys: frozenset[str]  # names of the authorities whose private key is there
    issued: tuple[Issued, ...]
    revocations: RevocationList | None


@dataclass(frozen=True)
class Policy:
    """Names and lifetimes that hold for the whole authority."""

    ca_common_name: str
    ca_days: int
    ca_renew_before_days: int
    renew_before_days: int
    crl_days: int
    crl_renew_before_days: int

    def common_name_of(self, authority: str) -> str:
        """Return the common name of one of AUTHORITIES."""
        return self.ca_common_name if authority == ROOT else f"{self.ca_common_name} ({authority})"


@dataclass(frozen=True)
class SignAuthority:
    """Sign a CA certificate; a key that exists already is kept, so certificates below it stay valid."""

    name: str
    common_name: str
    reason: str
    before: Authority | None
    not_after: datetime


@dataclass(frozen=True)
class Issue:
    """Make a new key and certificate for a leaf."""

    wanted: Wanted
    reason: str
    before: Issued | None
    not_after: datetime


@dataclass(frozen=True)
class PublishRevocations:
    """Sign a new CRL."""

    serials: frozenset[str]
    reason: str
    before: RevocationList | None
    next_update: datetime


Action = SignAuthority | Issue | PublishRevocations


def plan(
    wanted: tuple[Wanted, ...], revoked: tuple[str, ...], policy: Policy, state: State, now: datetime
) -> list[Action]:
    """Return the actions that bring `state` to what is wanted, in the order they must happen.

    `revoked` holds serials (that certificate dies and its leaf gets another) and leaf names (every certificate
    ever issued under the name dies, and none is issued while the name is on the list). A revocation stays in the
    CRL when it is taken off the list. Raises PkiError when the wish contradicts itself.
    """
    _validate(wanted, revoked, state)
    actions: list[Action] = []

    authorities = {authority.name: authority for authority in state.authorities}
    all_end = now - BACKDATE + timedelta(days=policy.ca_days)
    root = authorities.get(ROOT)
    if root and not _nearly_over(root.not_after, policy.ca_renew_before_days, now):
        all_end = root.not_after
    for name in AUTHORITIES:
        reason = _authority_reason(name, authorities.get(name), policy, all_end)
        if reason:
            actions.append(SignAuthority(name, policy.common_name_of(name), reason, authorities.get(name), all_end))

    dead = _revoked_serials(revoked, state)
    current = {leaf.name: leaf for leaf in state.issued if leaf.current}
    for leaf in wanted:
        if leaf.name in revoked:
            continue
        ends = min(now - BACKDATE + timedelta(days=leaf.days), all_end)
        authority = authorities.get(PROFILES[leaf.profile].authority)
        reason = _leaf_reason(leaf, current.get(leaf.name), dead, policy, authority, all_end, now)
        if reason:
            actions.append(Issue(leaf, reason, current.get(leaf.name), ends))

    crl_reason = _crl_reason(dead, policy, state.revocations, now)
    if crl_reason:
        actions.append(PublishRevocations(dead, crl_reason, state.revocations, now + timedelta(days=policy.crl_days)))

    _refuse_without_keys(actions, state)
    return actions


def _validate(wanted: tuple[Wanted, ...], revoked: tuple[str, ...], state: State) -> None:
    def refuse(what: str, next_step: str) -> PkiError:
        return PkiError(what, not_done="no certificate and no revocation list was written", next_step=next_step)

    seen: set[str] = set()
    for leaf in wanted:
        if not LEAF_NAME.fullmatch(leaf.name) or SERIAL.fullmatch(leaf.name):
            raise refuse(
                f"{leaf.name!r} cannot name a certificate",
                "use 1 to 63 lower-case letters, digits, dots and hyphens, but not 40 hex digits (a serial)",
            )
        if leaf.name in seen:
            raise refuse(f"the certificate {leaf.name} is declared twice", "remove one of the two")
        seen.add(leaf.name)
        if leaf.days < 1:
            raise refuse(f"the certificate {leaf.name} would be valid for {leaf.days} days", "give it at least one")
        if PROFILES[leaf.profile].named != bool(leaf.common_name):
            wish = "needs a" if PROFILES[leaf.profile].named else "must not have a"
            raise refuse(f"the certificate {leaf.name}, profile {leaf.profile}, {wish} common name", "correct it")
        if PROFILES[leaf.profile].server and not leaf.sans:
            raise refuse(f"the server certificate {leaf.name} has no names", "list its DNS names or addresses in sans")
    known = {leaf.name for leaf in state.issued} | {leaf.serial for leaf in state.issued}
    for entry in revoked:
        if entry not in known:
            raise refuse(
                f"the revoked list names {entry}, but no such certificate was ever issued here",
                "correct the name, or give the serial as 40 hex digits",
            )


def _refuse_without_keys(actions: list[Action], state: State) -> None:
    lost = [authority.name for authority in state.authorities if authority.name not in state.authority_keys]
    if ROOT not in state.authority_keys and state.issued:
        lost = [ROOT]
    if actions and lost:
        raise PkiError(
            f"{lost[0]}.key is not there, but the authority has signed certificates",
            not_done="no certificate and no revocation list was written",
            next_step="bring the key back from the copy of pki_directory; a new authority needs an empty directory",
        )


def _authority_reason(name: str, authority: Authority | None, policy: Policy, ends: datetime) -> str | None:
    if authority is None:
        return "there is none"
    if authority.common_name != policy.common_name_of(name):
        raise PkiError(
            f"the authority here is {authority.common_name!r}, the inventory asks for {policy.common_name_of(name)!r}",
            not_done="no certificate and no revocation list was written",
            next_step="point pki_directory at this inventory's own directory, or correct pki_ca_common_name",
        )
    return f"ends {authority.not_after:%Y-%m-%d}" if authority.not_after != ends else None


def _leaf_reason(
    wanted: Wanted,
    issued: Issued | None,
    dead: frozenset[str],
    policy: Policy,
    authority: Authority | None,
    authority_ends: datetime,
    now: datetime,
) -> str | None:
    if issued is None:
        return "there is none"
    if issued.serial in dead:
        return "revoked"
    if not issued.key_matches:
        return "its private key is missing or another's"
    if authority is None or issued.authority_key_id != authority.key_id:
        return "signed by another authority"
    profile = PROFILES[wanted.profile]
    compared = {
        "organizational unit": (issued.organizational_unit, profile.organizational_unit),
        "common name": (issued.common_name, wanted.common_name),
        "names": (issued.sans, frozenset(map(normal_san, wanted.sans))),
        "usage": ((issued.server, issued.client), (profile.server, profile.client)),
    }
    changed = [what for what, (is_now, should_be) in compared.items() if is_now != should_be]
    # A certificate that the authority's own end cut short has the lifetime that it could get.
    if issued.not_after != min(issued.not_before + timedelta(days=wanted.days), authority_ends):
        changed.append("lifetime")
    if changed:
        return "changed: " + ", ".join(changed)
    if issued.not_after >= authority_ends:
        return None  # signing it again would not make it last longer
    return _nearly_over(issued.not_after, policy.renew_before_days, now)


def _revoked_serials(revoked: tuple[str, ...], state: State) -> frozenset[str]:
    listed = {leaf.serial for leaf in state.issued if leaf.name in revoked or leaf.serial in revoked}
    return frozenset(listed | (state.revocations.serials if state.revocations else frozenset()))


def _crl_reason(dead: frozenset[str], policy: Policy, revocations: RevocationList | None, now: datetime) -> str | None:
    if revocations is None:
        return "there is none"
    if dead != revocations.serials:
        return f"revoked: {', '.join(sorted(dead - revocations.serials))}"
    return _nearly_over(revocations.next_update, policy.crl_renew_before_days, now)


def _nearly_over(ends: datetime, margin_days: int, now: datetime) -> str | None:
    if ends - now > timedelta(days=margin_days):
        return None
    return f"{'ended' if ends <= now else 'ends'} {ends:%Y-%m-%d}"


def normal_san(san: str) -> str:
    """Return a subject alternative name in the one spelling that is compared: addresses as RFC 5952 has them."""
    try:
        return str(ipaddress.ip_address(san))
    except ValueError:
        return san.lower()
