"""Expiry over a store in memory with real, signed manifests: what goes, what never does, and every interruption."""

from __future__ import annotations

import hashlib
import io
import json
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from keyfold.backup import manifest, sets
from keyfold.backup.manifest import ArchiveEntry, Cluster, Manifest
from keyfold.backup.verify import require_good, verify_sets
from keyfold.clock import stamp
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError
from keyfold.expiry import main
from keyfold.expiry.clock_guard import Reading
from keyfold.expiry.run import Expiry, Outcome
from keyfold.expiry.settings import Settings
from keyfold.expiry.state import State
from keyfold.remote import errors
from keyfold.remote.memory import Fault, MemoryExpirer

UUID = "11111111-2222-4333-8444-555555555555"
KEYS = MemorySystemKeys(bytes(range(32)), UUID)
CLUSTER = Cluster(UUID, KEYS.signing_public_key())
NOWHERE = Path("/nowhere")
DAY = timedelta(days=1)


@dataclass
class Site:
    """A store's host: one clock for what arrives and for the expirer."""

    state: State
    now: datetime = datetime(2026, 11, 1, 3, tzinfo=UTC)
    since_boot: float = 1000.0
    boot: str = "boot-1"
    previous: str = ""
    made: list[Manifest] = field(default_factory=list)
    released: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        self.store = MemoryExpirer(lambda: self.now)
        self.store.make_collection(UUID)

    def back_up(self, *partitions: str) -> Manifest:
        """One more set of the chain, as a run publishes it."""
        sequence = len(self.made) + 1
        set_id = f"{self.now:%Y%m%dT%H%M%SZ}-{sequence:08x}"
        place = sets.collection(UUID, set_id)
        self.store.make_collection(place)
        entries = []
        for name in partitions or ("acme",):
            content = f"archive of {name} in {set_id}".encode()
            self.put(f"{place}/{name}-00.age", content)
            digest = hashlib.sha256(content).hexdigest()
            entries.append(ArchiveEntry(name, f"uuid-{name}", f"{name}-00.age", 1, len(content), digest))
        made = Manifest(
            1, UUID, "b", "s", set_id, sequence, self.previous, stamp(self.now), "daily", 1, "hsm3", tuple(entries), ()
        )
        document = manifest.signed(made, KEYS.sign)
        self.put(f"{place}/{manifest.NAME}", document)
        self.previous = manifest.sha256(document)
        self.made.append(made)
        return made

    def put(self, name: str, content: bytes) -> None:
        self.store.put_new(name, io.BytesIO(content), len(content))

    def wait(self, time: timedelta) -> None:
        self.now += time
        self.since_boot += time.total_seconds()

    def days(self, number: int) -> None:
        for _ in range(number):
            self.wait(DAY)
            self.back_up()

    def expiry(self) -> Expiry:
        settings = Settings(CLUSTER, "-", NOWHERE, NOWHERE, NOWHERE, self.released)
        return Expiry(self.store, settings, self.state, lambda: Reading(self.now, self.since_boot, self.boot))

    def expire(self, *, dry_run: bool = False, accept_clock: bool = False) -> Outcome:
        return self.expiry().run(dry_run=dry_run, accept_clock=accept_clock)

    def set_ids(self) -> list[str]:
        return sorted(entry.name for entry in self.store.list(UUID))


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return Site(State(tmp_path))


def test_a_fortnight_of_daily_runs_leaves_ten_days_of_sets_that_verify(site: Site) -> None:
    for _ in range(14):
        site.days(1)
        site.expire()
    assert site.set_ids() == sorted(one.set_id for one in site.made[-10:])
    require_good(verify_sets(site.store, CLUSTER, {}))


def test_a_dry_run_says_the_same_and_changes_nothing(site: Site) -> None:
    site.days(12)
    before = site.store.files()
    dry = site.expire(dry_run=True)
    assert (dry.removed, site.store.files(), site.state.last_reading()) == ((), before, None)
    real = site.expire()
    assert real.decisions == dry.decisions
    assert list(real.removed) == [one.set_id for one in dry.decisions if one.action == "expire"]
    assert len(real.removed) == 2


@pytest.mark.parametrize("damage", ["altered", "missing"])
def test_the_only_newer_set_being_bad_holds_the_old_one(site: Site, damage: str) -> None:
    site.back_up()
    site.wait(11 * DAY)
    newer = site.back_up()
    archive = f"{UUID}/{newer.set_id}/{newer.partitions[0].archive}"
    if damage == "altered":
        site.store.alter(archive, lambda content: content[:-1] + bytes([content[-1] ^ 1]))
    else:
        site.store.lose(archive)
    outcome = site.expire()
    assert outcome.removed == ()
    assert [one.set_id for one in outcome.held] == [site.made[0].set_id]
    assert outcome.newest_verified == site.now - 11 * DAY


def test_a_forged_newer_set_does_not_let_the_old_one_go(site: Site) -> None:
    """The writer's identity, stolen, can create whatever it likes; it cannot sign."""
    site.back_up()
    site.wait(11 * DAY)
    forged = replace(site.made[0], set_id="20261112T030000Z-ffffffff", sequence=99)
    stranger = MemorySystemKeys(bytes(32), UUID)
    site.store.make_collection(f"{UUID}/{forged.set_id}")
    site.put(f"{UUID}/{forged.set_id}/{manifest.NAME}", manifest.signed(forged, stranger.sign))
    outcome = site.expire()
    assert outcome.removed == ()
    assert len(outcome.held) == 2


def test_a_replayed_older_manifest_does_not_count_as_newer(site: Site) -> None:
    first = site.back_up()
    document = site.store.files()[f"{UUID}/{first.set_id}/{manifest.NAME}"]
    site.wait(11 * DAY)
    site.store.make_collection(f"{UUID}/20261112T030000Z-aaaaaaaa")
    site.put(f"{UUID}/20261112T030000Z-aaaaaaaa/{manifest.NAME}", document)
    assert site.expire().removed == ()


def test_a_jump_of_the_clock_removes_nothing_and_the_next_run_after_it_is_healed_does(site: Site) -> None:
    site.days(12)
    site.expire()
    site.days(1)
    files = site.store.files()
    for jump in (30 * DAY, -30 * DAY):
        site.now += jump
        with pytest.raises(KeyfoldError) as caught:
            site.expire()
        assert caught.value.code == "clock"
        site.now -= jump
    assert site.store.files() == files
    assert len(site.expire().removed) == 1


def test_a_clock_that_somebody_checked_is_accepted(site: Site) -> None:
    site.days(12)
    site.expire()
    site.wait(5 * DAY)
    site.boot = "boot-2"
    with pytest.raises(KeyfoldError, match="cannot be believed"):
        site.expire()
    assert site.expire(accept_clock=True).removed != ()
    site.days(1)
    site.expire()


def test_a_set_in_progress_is_untouched_and_an_abandoned_upload_is_cleaned_up(site: Site) -> None:
    place = f"{UUID}/20261101T030000Z-00000000"
    site.store.make_collection(place)
    site.put(f"{place}/acme-00.age", b"part of an upload")
    site.days(2)
    assert site.expire().removed == ()
    site.days(1)
    assert site.expire().removed == ("20261101T030000Z-00000000",)


def test_an_upload_that_is_finished_while_expiry_looks_is_not_cleaned_up(site: Site) -> None:
    made = site.back_up()
    name = f"{UUID}/{made.set_id}/{manifest.NAME}"
    document = site.store.files()[name]
    site.store.lose(name)
    site.days(4)
    clocks = site.expiry()._read_clocks

    def finish_late() -> Reading:
        site.put(name, document)
        return clocks()

    expiry = site.expiry()
    expiry._read_clocks = finish_late
    expiry.run()
    assert name in site.store.files()


def test_what_is_not_a_set_or_not_this_clusters_is_never_touched(site: Site) -> None:
    for name in ("99999999-2222-4333-8444-555555555555", f"{UUID}/notes", "scratch"):
        site.store.make_collection(name)
        site.put(f"{name}/manifest.jsonl", b"x")
    site.days(12)
    site.expire()
    assert sum(name.endswith("/manifest.jsonl") and "Z-" not in name for name in site.store.files()) == 3


@pytest.mark.parametrize("ending", ["manifest.jsonl", "-00000001", "-00000002/manifest.jsonl", "-00000002"])
def test_a_removal_that_fails_leaves_no_set_that_looks_complete_but_is_not(site: Site, ending: str) -> None:
    site.days(12)
    site.store.fail_next("remove", Fault(errors.failed("HTTP 500")), ending=ending)
    with pytest.raises(KeyfoldError) as caught:
        site.expire()
    assert caught.value.code == "store_error"
    require_good(verify_sets(site.store, CLUSTER, {}))
    for _ in range(4):
        site.days(1)
        site.expire()
    assert site.set_ids() == sorted(one.set_id for one in site.made[-10:])


def run_main(site: Site, *argv: str) -> int:
    try:
        return main.expire(site.expiry(), site.state, main.parser().parse_args(argv))
    except KeyfoldError as error:
        return error.exit_code


def test_held_sets_ring_the_alarm_in_exit_code_status_and_metrics(
    site: Site, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    site.back_up("acme", "beta")
    site.days(11)
    assert run_main(site, "--dry-run") == 0
    assert "no newer verified set holds beta" in capsys.readouterr().out
    assert not (tmp_path / "status.json").exists()
    assert run_main(site) == 20
    status = json.loads((tmp_path / "status.json").read_text())
    assert [one["action"] for one in status["plan"]][:2] == ["hold", "hold"]
    assert "keyfold_expiry_held_sets 2\n" in (tmp_path / "expiry.prom").read_text()
    site.released = ("beta",)
    assert run_main(site) == 0
    assert "keyfold_expiry_held_sets 0\n" in (tmp_path / "expiry.prom").read_text()


def test_a_clock_that_is_not_believed_rings_the_alarm(site: Site, tmp_path: Path) -> None:
    site.days(1)
    site.wait(9 * DAY)
    assert run_main(site) == 21
    assert json.loads((tmp_path / "status.json").read_text())["code"] == "clock"
    assert "keyfold_expiry_failed 1" in (tmp_path / "expiry.prom").read_text()


def test_an_unreadable_record_of_the_last_run_is_no_first_run(site: Site, tmp_path: Path) -> None:
    site.days(12)
    (tmp_path / "last.json").write_text("{")
    with pytest.raises(KeyfoldError, match="cannot be read"):
        site.expire()
