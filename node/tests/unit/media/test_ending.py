"""The end of a key: refused before it is due, held up by a node that is away, gone on with, and certified at last."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.media_site import STICK, MediaSite, make_media_site

from keyfold.backup.cluster import ClusterState
from keyfold.errors import KeyfoldError
from keyfold.media import certificate
from keyfold.media.expire import carry_out
from keyfold.media.plan import FINISH, Step, plan
from keyfold.media.register import ASKED, DUE
from keyfold.partition.policy import SYSTEM
from keyfold.replication import keys


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> MediaSite:
    made = make_media_site(tmp_path, monkeypatch)
    made.agent.expirer.hourly()
    return made


def test_a_key_that_is_not_due_is_not_destroyed_as_due(here: MediaSite) -> None:
    medium = here.write()
    with pytest.raises(KeyfoldError, match="not due before"):
        here.ending().end(medium, DUE)
    assert here.media()[0].lives


def test_a_clock_that_jumped_destroys_nothing(here: MediaSite) -> None:
    here.write()
    here.clock.advance(200 * 86400.0)
    (outcome,) = carry_out(plan(here.media(), here.clock.utc()), here.ending(), "node hsm3")
    assert "the cluster was away or the clocks jumped" in outcome.problem
    assert here.media()[0].lives


def test_a_node_that_is_away_delays_the_certificate_and_not_the_end(here: MediaSite) -> None:
    medium = here.write()
    here.agent.down = {"hsm2"}
    ended = here.ending().end(medium, ASKED, by="grace")
    assert "hsm2" in ended.outstanding
    assert not here.media()[0].lives
    (step,) = plan(here.media(), here.clock.utc())
    assert step.action == FINISH
    (outcome,) = carry_out([step], here.ending(), "node hsm3")
    assert "hsm2" in outcome.problem

    here.agent.down = set()
    (outcome,) = carry_out([step], here.ending(), "node hsm3")
    assert outcome.problem == ""
    assert plan(here.media(), here.clock.utc()) == []
    row = here.media()[0]
    assert row.destroyed is not None
    assert row.destroyed.because == ASKED


def test_nodes_are_told_to_scrub_the_keys_files(here: MediaSite) -> None:
    medium = here.write()
    here.ending().end(medium, ASKED)
    purged = {item.key.removeprefix(keys.purged(SYSTEM)) for item in here.agent.store.scan(keys.purged(SYSTEM))}
    assert purged == set(medium.files)
    assert here.agent.store.get(keys.HISTORY_DUE) is None


def test_one_medium_that_cannot_be_ended_does_not_keep_the_others(here: MediaSite) -> None:
    medium = here.write()
    early = Step(medium, "destroy", "-", DUE)
    late = Step(medium, "destroy", "-", ASKED)
    outcomes = carry_out([early, late], here.ending(), "node hsm3")
    assert [bool(one.problem) for one in outcomes] == [True, False]


def test_a_certificate_that_was_altered_or_is_of_another_medium_is_refused(here: MediaSite) -> None:
    medium = here.write()
    here.ending().end(medium, ASKED, by="grace", ticket="CHG-2")
    (gone,) = here.media()
    signer = ClusterState(here.agent).identity().signer
    document = gone.certificate.encode()
    assert certificate.verify(document, signer).ticket == "CHG-2"
    for forged in (document.replace(b"CHG-2", b"CHG-3"), document[:-1], document + b"x", document.split(b"\n")[0]):
        with pytest.raises(KeyfoldError, match="is not believed") as caught:
            certificate.verify(forged, signer)
        assert caught.value.code == "refused"
    again = here.write("second", STICK, overwrite=True)
    here.agent.down = {"hsm2"}
    here.ending().end(again, ASKED)
    with pytest.raises(KeyfoldError, match="not gone everywhere"):
        here.agent.call("medium_certify", id=again.id, certificate=gone.certificate)
    here.agent.down = set()
    here.agent.call("medium_forget", id=again.id)
    with pytest.raises(KeyfoldError, match="the certificate of medium"):
        here.agent.call("medium_certify", id=again.id, certificate=gone.certificate)
