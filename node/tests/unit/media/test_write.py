"""A medium that counts, or none: whatever fails, the key that was made for it is destroyed."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_site import STICK, MediaSite, make_media_site, stick

from keyfold.backup import sets
from keyfold.backup.cluster import ClusterState
from keyfold.errors import KeyfoldError
from keyfold.media.look import MediumState, verify
from keyfold.media.plan import DESTROY, plan
from keyfold.media.register import FAILED
from keyfold.partition.policy import SYSTEM
from keyfold.remote import errors
from keyfold.remote.memory import Fault, MemoryRemote
from keyfold.replication import keys

OTHER = "/dev/disk/by-id/usb-Stick_0002-0:0"


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaSite:
    return make_media_site(tmp_path, monkeypatch)


def keys_there(here: MediaSite) -> list[str]:
    """The keys of media in etcd: in the token, and sealed copies."""
    live = [item.key for item in here.agent.store.scan(keys.objects(SYSTEM)) if "token.object" not in item.key]
    return live + [item.key for item in here.agent.store.scan(keys.MEDIA_KEYS)]


def test_a_medium_holds_its_partitions_whatever_their_package(here: MediaSite) -> None:
    medium = here.write()
    assert (medium.state, medium.partitions, len(keys_there(here))) == ("active", ("acme",), 3)
    manifest = verify(here.agent, here.block.on(STICK), medium, here.site.config.state)
    assert (manifest.retention_class, manifest.sequence, manifest.cluster) == ("medium", 1, ())
    readme = here.block.on(STICK).files()["README.txt"].decode()
    assert medium.id in readme
    assert medium.due in readme


def test_it_is_no_backup_set_of_the_store(here: MediaSite) -> None:
    here.agent.add_partition("other", "ECO")
    here.site.run("other")
    here.write()
    made = here.site.run("other")
    assert made.sequence == 2
    records = ClusterState(here.agent).records(sets.RECORD_KIND)
    assert {row["retention_class"] for row in records.values()} == {"daily"}
    found = sets.read_all(here.site.store, ClusterState(here.agent).identity().signer, records)
    assert [one.problem for one in found] == ["", ""]


def test_a_dry_run_looks_and_makes_nothing(here: MediaSite) -> None:
    made = here.writing().plan(here.wish())
    assert ([one.name for one in made.partitions], here.media(), keys_there(here)) == (["acme"], [], [])


@pytest.mark.parametrize(
    ("wish", "code"),
    [
        (("vault", STICK, "nobody"), "not_found"),
        (("vault", STICK, SYSTEM), "not_found"),
        (("vault", "/dev/sdz"), "invalid"),
        (("vault", OTHER), "not_found"),
        (("Not a name", STICK), "invalid"),
    ],
)
def test_what_cannot_be_made_makes_no_key(here: MediaSite, wish: tuple[str, ...], code: str) -> None:
    with pytest.raises(KeyfoldError) as caught:
        here.write(*wish)
    assert (caught.value.code, here.media(), keys_there(here)) == (code, [], [])


def test_a_name_or_a_device_of_a_medium_that_lives_is_taken(here: MediaSite) -> None:
    here.block.plug(stick(stable=OTHER))
    here.write()
    for wish in (("vault", OTHER), ("second", STICK)):
        with pytest.raises(KeyfoldError, match="its key lives") as caught:
            here.write(*wish, overwrite=True)
        assert caught.value.code == "conflict"
    assert len(here.media()) == 1


def test_a_backup_under_way_is_met_before_the_device_is_touched(here: MediaSite) -> None:
    here.agent.jobs["backup"] = {"id": "of hsm4", "lease": 1}
    with pytest.raises(KeyfoldError, match="under way on hsm4") as caught:
        here.write()
    assert (caught.value.code, here.media(), keys_there(here)) == ("conflict", [], [])
    assert not here.block.look(STICK).holds


def full(remote: MemoryRemote) -> None:
    for ending in (".age", ".age", ".age"):
        remote.fail_next("put_new", Fault(errors.full("x"), 10), ending=ending)


def broken(remote: MemoryRemote) -> None:
    remote.fail_next("put_new", Fault(errors.failed("the stick was pulled out")), ending="README.txt")


@pytest.mark.parametrize("fault", [full, broken])
def test_a_write_that_fails_leaves_no_key_and_says_so(
    here: MediaSite, fault: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    formatted = here.block.format

    def then_fail(stable: str) -> None:
        formatted(stable)
        fault(here.block.on(stable))  # type: ignore[operator]

    monkeypatch.setattr(here.block, "format", then_fail)
    with pytest.raises(KeyfoldError) as caught:
        here.write()
    assert "there is no such medium; its key is destroyed again" in caught.value.not_done
    (row,) = here.media()
    assert row.destroyed is not None
    assert (row.destroyed.because, row.set_id, keys_there(here)) == (FAILED, "", [])
    assert row.certificate


def test_what_the_device_gives_back_otherwise_does_not_count(here: MediaSite) -> None:
    def rot() -> None:
        remote = here.block.on(STICK)
        (archive,) = [name for name in remote.files() if name.endswith(".age")]
        remote.alter(archive, lambda content: content[:-1] + bytes([content[-1] ^ 1]))

    opened = here.block.opened
    seen: list[bool] = []

    def opened_later(stable: str, *, writable: bool = False) -> object:
        if not writable:
            rot()
        seen.append(writable)
        return opened(stable, writable=writable)

    here.block.opened = opened_later  # type: ignore[method-assign,assignment]
    with pytest.raises(KeyfoldError, match="the archive of acme was altered"):
        here.write()
    assert (seen, keys_there(here)) == ([True, False], [])


def test_a_write_that_was_killed_is_ended_by_the_next_run(here: MediaSite) -> None:
    here.agent.call(
        "medium_begin",
        id="20260301-0000aaaa",
        name="x",
        device=STICK,
        partitions=["acme"],
        ticket="T",
        reason="R",
        by="B",
    )
    (step,) = plan(here.media(), here.clock.utc())
    assert (step.action, len(keys_there(here))) == (DESTROY, 3)
    here.ending().end(step.medium, step.because, by="node hsm3")
    assert (keys_there(here), here.media()[0].certificate != "") == ([], True)


def test_a_set_of_another_medium_or_a_damaged_one_is_refused_by_name(here: MediaSite) -> None:
    here.block.plug(stick(stable=OTHER))
    first, second = here.write(), here.write("second", OTHER)
    state = here.site.config.state
    with pytest.raises(KeyfoldError, match="another medium"):
        verify(here.agent, here.block.on(OTHER), first, state)
    with pytest.raises(KeyfoldError, match="there is no backup set on it"):
        verify(here.agent, MemoryRemote(), second, state)
    foreign = MemoryRemote()
    foreign.make_collection("99999999-2222-4333-8444-555555555555")
    with pytest.raises(KeyfoldError, match="a medium of another cluster: 99999999"):
        verify(here.agent, foreign, second, state)


def test_one_medium_key_does_not_open_another(here: MediaSite) -> None:
    here.block.plug(stick(stable=OTHER))
    first, second = here.write(), here.write("second", OTHER)
    identities = [MediumState(here.agent, one).identity().backup_identity for one in (first, second)]
    assert len(set(identities)) == 2


def test_every_step_is_in_the_audit_chain_and_none_says_a_secret(here: MediaSite) -> None:
    medium = here.write()
    here.ending().end(medium, "asked", by="grace", ticket="CHG-2", reason="over")
    notes = [item.value for item in here.agent.store.scan(keys.AUDIT_PENDING)]
    text = b"".join(sorted(notes)).decode()
    for what in ("key made", "written", "key destroyed", "key forgotten", "certified destroyed"):
        assert f'"what":"medium {what}"' in text
    scalar = here.agent.media_keys.scalars[medium.files[0]][1]
    assert scalar.to_bytes(32, "big").hex() not in text
