"""Read the store for the plan: what is there, when it arrived, and which sets are good to the last byte."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from datetime import datetime

from keyfold.backup import manifest, sets
from keyfold.backup.manifest import Cluster
from keyfold.backup.sets import StoredSet
from keyfold.backup.verify import check_archives
from keyfold.expiry.clock_guard import Arrival
from keyfold.expiry.plan import Candidate, Decision, copies_needed, plan
from keyfold.remote import Entry, Remote


@dataclass(frozen=True, slots=True)
class Survey:
    """`newest`: when the newest file arrived, by the store's clock; `stored`: the sets as judged, by ID."""

    candidates: tuple[Candidate, ...]
    newest: datetime | None
    arrival: Arrival | None
    stored: dict[str, StoredSet]


def look(remote: Remote, cluster: Cluster) -> Survey:
    """Everything in the cluster's collection, with manifests checked; archives are not read, so nothing is verified."""
    found = {
        entry.name: entry for entry in remote.list(cluster.uuid) if entry.collection and sets.is_set_id(entry.name)
    }
    stored = {one.set_id: one for one in sets.read_all(remote, cluster, {})}
    members = {set_id: remote.list(sets.collection(cluster.uuid, set_id)) for set_id in found}
    candidates = tuple(candidate(entry, members[set_id], stored.get(set_id)) for set_id, entry in found.items())
    times = [member.modified for listed in members.values() for member in listed]
    return Survey(candidates, max(times, default=None), _arrival(candidates, stored), stored)


def foresee(remote: Remote, cluster: Cluster, found: Iterable[StoredSet], now: datetime) -> dict[str, Decision]:
    """What the next expiry will decide about sets already judged, by ID, if their archives are as they were stored.

    The expirer itself reads them to their last byte before it removes anything.
    """
    collections = {entry.name: entry for entry in remote.list(cluster.uuid)}
    seen = []
    for one in found:
        members = remote.list(sets.collection(cluster.uuid, one.set_id))
        seen.append(replace(candidate(collections[one.set_id], members, one), verified=not one.problem))
    return {decision.set_id: decision for decision in plan(seen, now)}


def candidate(collection: Entry, members: Iterable[Entry], stored: StoredSet | None) -> Candidate:
    """A set's collection and what is in it → what the plan needs to know. Pure."""
    listed = list(members)
    # Removing a member touches its collection: its own time counts only when nothing is left in it.
    touched = max((member.modified for member in listed), default=collection.modified)
    received = next((member.modified for member in listed if member.name == manifest.NAME), None)
    if received is None or stored is None:
        return Candidate(collection.name, None, touched)
    if stored.manifest is None:
        return Candidate(collection.name, received, touched, problem=stored.problem)
    return Candidate(
        collection.name,
        received,
        touched,
        stored.manifest.sequence,
        stored.manifest.retention_class,
        tuple(entry.name for entry in stored.manifest.partitions),
    )


def verified(remote: Remote, cluster: Cluster, survey: Survey, now: datetime, released: Iterable[str]) -> Survey:
    """The survey with sets verified, newest first, until each partition that needs a newer copy has one.

    A set whose archives are bad, or whose place in the chain is, is not verified.
    """
    wanted = copies_needed(survey.candidates, now, tuple(released))
    checked = {one.set_id: one for one in survey.candidates}
    seen_good = False
    for one in sorted(survey.candidates, key=lambda one: one.sequence, reverse=True):
        if not one.sequence or (seen_good and not wanted & set(one.partitions)):
            continue
        stored = check_archives(remote, cluster.uuid, survey.stored[one.set_id])
        checked[one.set_id] = replace(one, verified=not stored.problem, problem=stored.problem)
        if not stored.problem:
            seen_good = True
            wanted -= set(one.partitions)
    return replace(survey, candidates=tuple(checked.values()))


def _arrival(candidates: Iterable[Candidate], stored: dict[str, StoredSet]) -> Arrival | None:
    received = {one.set_id: one.received for one in candidates}
    for one in sorted(stored.values(), key=lambda one: one.sequence, reverse=True):
        arrived = received.get(one.set_id)
        if one.manifest is not None and arrived is not None:
            return Arrival(datetime.fromisoformat(one.manifest.created), arrived)
    return None
