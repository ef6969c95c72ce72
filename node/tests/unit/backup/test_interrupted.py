"""The node restarts, or etcd's history is compacted, at any point of a backup: no half set counts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from support.backup_site import BackupSite, make_site
from support.fake_agent import FakeAgent

from keyfold.backup import manifest, sets
from keyfold.backup.cluster import ClusterState
from keyfold.backup.plan import made_lately
from keyfold.backup.run import Backup
from keyfold.errors import KeyfoldError
from keyfold.store.errors import Compacted

pytestmark = pytest.mark.exhaustive

LONGEST_WALK = 100


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    for name in ("acme", "bolt"):
        site.agent.add_partition(name)
    return site


class Interrupted:
    """The agent until its `at`th reply, of a call or within a stream, counted from 1; then `error`, for good."""

    def __init__(self, agent: FakeAgent, at: int, error: KeyfoldError) -> None:
        self._agent, self._at, self._error = agent, at, error
        self.replies = 0

    def call(self, op: str, **params: Any) -> dict[str, Any]:
        # Another process holds the job by then, or it runs out by itself: what a node that is gone cannot give back.
        if op == "job_renew":
            return self._agent.call(op, **params)
        return next(self.stream(op, **params))

    def stream(self, op: str, **params: Any) -> Iterator[dict[str, Any]]:
        for reply in self._agent.stream(op, **params):
            self.replies += 1
            if self.replies >= self._at:
                raise self._error
            yield reply


def backup(site: BackupSite, agent: Any) -> Backup:
    return Backup(ClusterState(agent), site.store, lambda body, _: site.agent.keys.sign(body), site.config, site.clock)


RESTARTED = KeyfoldError("agent_down", "it closed the connection", not_done="-", next_step="-")


@pytest.mark.parametrize("error", [RESTARTED, Compacted(4711)], ids=["restart", "compaction"])
def test_an_interruption_at_any_reply_leaves_no_half_set(site: BackupSite, error: KeyfoldError) -> None:
    signer = ClusterState(site.agent).identity().signer
    for at in range(1, LONGEST_WALK):
        agent = Interrupted(site.agent, at, error)
        before = len(sets.read_all(site.store, signer, {}))
        with suppress(type(error)):
            backup(site, agent).run()
            assert at > 12
            return
        # The lease of a node that is gone ends by itself.
        site.agent.jobs.clear()
        found = sets.read_all(site.store, signer, {})
        assert all(not one.problem for one in found)
        # Only where the last reply was lost, the record's, is it a set: whole, signed and read back.
        assert len(found) - before in (0, 1)
        assert [path.name for path in site.spool.iterdir()] == ["backup.lock"]
    pytest.fail("the walk did not come to its end")


def test_the_daily_run_does_nothing_where_another_node_made_the_days_set(site: BackupSite) -> None:
    made = site.backup().run(daily=True)
    assert made is not None
    assert site.backup().run(daily=True) is None
    # One that somebody asked for is made all the same.
    assert site.backup().run() is not None
    assert len([name for name in site.store.files() if name.endswith(manifest.NAME)]) == 2


def test_the_daily_run_does_not_take_a_restores_safety_set_for_the_days(site: BackupSite) -> None:
    assert site.backup().run((), manifest.SAFETY) is not None
    assert site.backup().run(daily=True) is not None


def test_the_daily_run_is_not_content_with_an_older_set_or_one_of_less(site: BackupSite) -> None:
    site.run("acme")
    records = ClusterState(site.agent).records(sets.RECORD_KIND)
    partitions = ClusterState(site.agent).partitions()
    now = site.clock.utc()
    assert made_lately(records, partitions, now, timedelta(hours=6)) is None
    acme = [one for one in partitions if one.name == "acme"]
    assert made_lately(records, acme, now, timedelta(hours=6)) is not None
    assert made_lately(records, acme, now + timedelta(hours=7), timedelta(hours=6)) is None
    # A set out of the future is a clock that is wrong.
    assert made_lately(records, acme, now - timedelta(hours=1), timedelta(hours=6)) is None
    assert site.backup().run(daily=True) is not None


def test_what_broke_off_yesterday_is_made_up_for_today(site: BackupSite) -> None:
    with pytest.raises(KeyfoldError):
        backup(site, Interrupted(site.agent, 6, RESTARTED)).run(daily=True)
    site.agent.jobs.clear()
    assert site.backup().run(daily=True) is not None
