"""kill -9 at every step of a backup and of an expiry: no half set counts, and the next run succeeds."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from support.backup_site import CLUSTER_UUID, BackupSite, make_site
from support.killing_remote import DirectoryRemote, killed

from keyfold.backup import manifest
from keyfold.backup.cluster import ClusterState
from keyfold.backup.verify import require_good, verify_sets
from keyfold.expiry.clock_guard import Reading
from keyfold.expiry.run import Expiry
from keyfold.expiry.settings import Settings
from keyfold.expiry.state import State

pytestmark = pytest.mark.exhaustive

LONGEST_WALK = 200
NOWHERE = Path("/nowhere")


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> BackupSite:
    site = make_site(tmp_path, monkeypatch)
    site.agent.add_partition("acme")
    return site


def store(path: Path) -> Path:
    path.mkdir(parents=True)
    return path


def with_store(site: BackupSite, root: Path, die_at: int = 0) -> BackupSite:
    return replace(site, store=DirectoryRemote(root, die_at))  # type: ignore[arg-type]


def verified_sets(site: BackupSite, root: Path) -> list[str]:
    """All sets, after every one of them passed."""
    checked = verify_sets(DirectoryRemote(root), ClusterState(site.agent).identity().signer, {})
    require_good(checked)
    return [one.set_id for one in checked]


def test_a_backup_killed_at_any_step_leaves_no_half_set_and_the_next_run_succeeds(
    site: BackupSite, tmp_path: Path
) -> None:
    first = store(tmp_path / "first")
    with_store(site, first).run()
    recorded = dict(site.agent.records["backup_set"])
    for step in range(1, LONGEST_WALK):
        root = tmp_path / f"store-{step}"
        site.agent.records["backup_set"] = dict(recorded)
        shutil.copytree(first, root)
        if not killed(with_store(site, root, step).run):
            assert step > 12
            return
        # The first set, and the second one only if its manifest was whole: read back, it is a set like any other.
        before = _count_after_a_kill(site, root)
        made = with_store(site, root).run()
        assert made.sequence == before + 1
        assert made.set_id in verified_sets(site, root)
        assert [path.name for path in site.spool.iterdir()] == ["backup.lock"]
    pytest.fail("the walk did not come to its end")


def _count_after_a_kill(site: BackupSite, root: Path) -> int:
    """How many sets count. A manifest cut short by a store that keeps partial uploads is refused by name."""
    checked = verify_sets(DirectoryRemote(root), ClusterState(site.agent).identity().signer, {})
    good = [one for one in checked if not one.problem]
    assert len(good) >= 1
    for one in checked:
        assert one in good or one.manifest is None
        if one in good:
            assert (root / CLUSTER_UUID / one.set_id / manifest.NAME).stat().st_size > 0
    for one in checked:
        if one not in good:
            # Removed here, as an operator would, so that the next assertion can ask for a store without problems.
            (root / CLUSTER_UUID / one.set_id / manifest.NAME).unlink()
    return len(good)


def test_an_expiry_killed_at_any_step_leaves_only_whole_sets_and_the_next_ones_finish_it(
    site: BackupSite, tmp_path: Path
) -> None:
    full = store(tmp_path / "full")
    for age in (13, 12, 1):
        made = with_store(site, full).run()
        _age(full / CLUSTER_UUID / made.set_id, timedelta(days=age))
    for step in range(1, LONGEST_WALK):
        root = tmp_path / f"store-{step}"
        shutil.copytree(full, root)
        state = State(store(tmp_path / f"state-{step}"))
        walked = killed(_expiry(site, root, state, step).run)
        newest = verified_sets(site, root)[0]
        _expiry(site, root, state).run()
        # What is left of a set without its manifest waits until it is abandoned, at most.
        left = {path.name for path in (root / CLUSTER_UUID).iterdir() if any(path.iterdir())}
        assert left == {newest}
        assert verified_sets(site, root) == [newest]
        if not walked:
            assert step > 10
            return
    pytest.fail("the walk did not come to its end")


def _expiry(site: BackupSite, root: Path, state: State, die_at: int = 0) -> Expiry:
    settings = Settings(ClusterState(site.agent).identity().signer, "-", NOWHERE, NOWHERE, NOWHERE)
    now = datetime.now(UTC)
    clocks = Reading(now, 1000.0 + now.timestamp(), "boot-1")
    # The sets' own times are the test clock's, so that clock is not what is tested here.
    expiry = Expiry(DirectoryRemote(root, die_at), settings, state, lambda: clocks)
    expiry._judge_clock = lambda _now, _seen: None  # type: ignore[method-assign]
    return expiry


def _age(place: Path, age: timedelta) -> None:
    then = (datetime.now(UTC) - age).timestamp()
    for path in (*place.iterdir(), place):
        os.utime(path, (then, then))
