"""A medium from day 0 to day 180: by then, really tried, nothing that is kept anywhere opens it.

Day by day as the cluster lives: the agents' hourly work, the daily set, the store's expirer, `keyfold media expire`.
"""

from __future__ import annotations

import json
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO

import pytest
from support.media_site import STICK, MediaSite, make_media_site

from keyfold.backup.age import decrypting
from keyfold.backup.cluster import ClusterState
from keyfold.backup.cluster_archive import ClusterArchiveReader
from keyfold.backup.recipient import decode_recipient, encode_identity, tag
from keyfold.custody import medium_copy
from keyfold.errors import KeyfoldError
from keyfold.expiry import plan as expiring
from keyfold.expiry.plan import Candidate
from keyfold.media import certificate
from keyfold.media.expire import Outcome, carry_out
from keyfold.media.look import verify
from keyfold.media.plan import DESTROY, KEEP, WARN, plan
from keyfold.media.register import Medium
from keyfold.metrics.collect import Answers, collect
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys
from keyfold.store.errors import Compacted
from keyfold.store.interface import Delete, KeyValue, Put


class Store:
    """What the store keeps: each day a set, in a place of its own; expiry by the real plan, by server receive time."""

    def __init__(self, here: MediaSite) -> None:
        self._here = here
        self.kept: dict[str, Candidate] = {}

    def daily(self) -> None:
        made = self._here.site.run("keyfold-daily")
        now = self._here.clock.utc()
        names = tuple(one.name for one in made.partitions)
        self.kept[made.set_id] = Candidate(
            made.set_id, now, now, made.sequence, made.retention_class, names, verified=True
        )

    def expire(self) -> None:
        for one in expiring.plan(self.kept.values(), self._here.clock.utc()):
            if one.action == expiring.EXPIRE:
                del self.kept[one.set_id]
                cluster = self._here.agent.cluster_uuid
                remote = self._here.site.store
                for name in [name for name in remote.files() if name.startswith(f"{cluster}/{one.set_id}/")]:
                    remote.lose(name)


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaSite:
    made = make_media_site(tmp_path, monkeypatch)
    # What the daily sets are of: acme itself has a package without backups, media are the exception.
    made.agent.add_partition("keyfold-daily", "ECO")
    return made


def expire(here: MediaSite) -> list[Outcome]:
    return carry_out(plan(here.media(), here.clock.utc()), here.ending(), "node hsm3")


def age_opens(ciphertext: bytes, medium: Medium) -> bool:
    """With the stock command and this cluster's plugin, from a copy of what was on the medium."""
    identity = encode_identity(tag(decode_recipient(medium.recipient)))
    try:
        with as_file(ciphertext) as file, decrypting(identity, file) as plain:
            while plain.read(1 << 16):
                pass
    except KeyfoldError:
        return False
    return True


@contextmanager
def as_file(content: bytes) -> Iterator[BinaryIO]:
    with tempfile.TemporaryFile() as file:
        file.write(content)
        yield file


def copies_in_backups(here: MediaSite, medium: Medium) -> Iterator[int]:
    """The medium's private scalar, out of every cluster archive in the store, opened with the backup key."""
    cluster = ClusterState(here.agent).identity()
    for name, content in here.site.store.files().items():
        if "/_cluster-" not in name:
            continue
        with as_file(content) as file, decrypting(cluster.backup_identity, file) as plain:
            found = {entry.key: entry.value for entry in ClusterArchiveReader(plain).entries()}
        sealed = found.get(keys.medium_key(medium.id))
        if sealed is not None:
            point = here.agent.keys.backup_public_key()
            yield medium_copy.unseal(json.loads(sealed), medium.id, point, here.agent.keys.ecdh)


def copies_in_etcd(here: MediaSite, medium: Medium) -> int:
    """How many (key, revision) of etcd, past ones too, have the key's files or the sealed copy."""
    wanted = [keys.medium_key(medium.id), *(keys.live(SYSTEM, file) for file in medium.files)]
    found: list[KeyValue | None] = []
    for revision in range(1, here.agent.store.revision() + 1):
        for key in wanted:
            with suppress(Compacted):
                found.append(here.agent.store.get(key, revision=revision))
    return sum(1 for item in found if item is not None)


def days_left(here: MediaSite) -> dict[str, float]:
    status = here.agent.call("status") | {"cluster": None}
    records = ClusterState(here.agent).records("medium")
    answers = Answers("hsm3", "1", here.clock.utc(), status, media=records)
    family = next(one for one in collect(answers) if one.name == "media_days_left")
    return {sample.labels["medium"]: float(sample.value) for sample in family.samples}


@pytest.mark.exhaustive
def test_by_day_180_neither_medium_nor_backup_nor_history_opens_it(here: MediaSite) -> None:
    store = Store(here)
    here.agent.expirer.hourly()
    medium = here.write()
    remote = here.block.on(STICK)
    (archive,) = [content for name, content in remote.files().items() if name.endswith(".age")]
    assert age_opens(archive, medium)

    here.pass_days(149)
    assert [step.action for step in plan(here.media(), here.clock.utc())] == [KEEP]
    here.pass_days(1)
    # Day 150: warned of, by the plan that the timer runs and by the figure that the alarm watches.
    assert [one.step.action for one in expire(here)] == [WARN]
    assert 19 < days_left(here)[medium.id] <= 20

    here.pass_days(9)
    for _ in range(10):
        here.pass_days(1)
        store.daily()
        store.expire()
        assert [one.ended for one in expire(here)] == [None]
    # Day 169: it opens, and so it would from every copy there is: what is tried from here on can succeed.
    assert verify(here.agent, remote, medium, here.site.config.state).set_id == medium.set_id
    assert set(copies_in_backups(here, medium)) == {scalar_of(here, medium)}
    assert copies_in_etcd(here, medium) > 0

    # Day 170.
    here.pass_days(1)
    (done,) = expire(here)
    assert (done.step.action, done.problem) == (DESTROY, "")
    (gone,) = here.media()
    assert gone.destroyed is not None
    assert gone.destroyed.because == "due"
    proof = certificate.verify(gone.certificate.encode(), ClusterState(here.agent).identity().signer)
    assert (proof.medium, proof.device, proof.nodes) == (medium.id, STICK, ("hsm1", "hsm2", "hsm3"))
    assert not age_opens(archive, medium)
    assert copies_in_etcd(here, medium) == 0
    assert days_left(here) == {}
    with pytest.raises(KeyfoldError, match="is destroyed"):
        verify(here.agent, remote, gone, here.site.config.state)
    # Only the sets of the ten days before have a copy still, and it is sealed to the backup key.
    store.daily()
    assert set(copies_in_backups(here, medium)) == {scalar_of(here, medium)}

    for _ in range(10):
        here.pass_days(1)
        store.daily()
        store.expire()
        assert expire(here) == []
    # Day 180.
    assert here.clock.utc().date() == medium_day(medium, 180)
    assert len(store.kept) > 0
    assert list(copies_in_backups(here, medium)) == []
    assert copies_in_etcd(here, medium) == 0
    assert not age_opens(archive, medium)


def test_a_destroyed_key_that_an_older_set_brings_back_is_destroyed_by_the_next_run(here: MediaSite) -> None:
    here.agent.expirer.hourly()
    medium = here.write()
    remote = here.block.on(STICK)
    here.pass_days(169)
    Store(here).daily()
    before = {item.key: item.value for item in here.agent.rebuilding.entries(0)}
    here.pass_days(2)
    expire(here)
    assert not here.media()[0].lives

    # All nodes are lost; the set of day 169 is what there is. The rebuild puts back what its archive has.
    rebuilt(here, before)
    (back,) = here.media()
    assert back.lives
    assert verify(here.agent, remote, back, here.site.config.state).set_id == medium.set_id
    (done,) = expire(here)
    assert (done.step.action, done.problem) == (DESTROY, "")
    with pytest.raises(KeyfoldError, match="is destroyed"):
        verify(here.agent, remote, here.media()[0], here.site.config.state)


def rebuilt(here: MediaSite, entries: dict[str, bytes]) -> None:
    """An empty etcd with a new token, and what the archive's entries bring back (`Rebuilding`)."""
    store = here.agent.store
    for prefix in (keys.RECORDS, keys.MEDIA_KEYS, keys.PURGED):
        for item in list(store.scan(prefix)):
            store.txn((), [Delete(item.key)])
    for key, value in entries.items():
        if key.startswith((keys.RECORDS, keys.MEDIA_KEYS)):
            store.txn((), [Put(key, value)])
    here.agent.media.bring_back()


def scalar_of(here: MediaSite, medium: Medium) -> int:
    return here.agent.media_keys.scalars[medium.files[0]][1]


def medium_day(medium: Medium, day: int) -> date:
    return (datetime.fromisoformat(medium.created) + timedelta(days=day)).date()
