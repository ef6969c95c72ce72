"""A drill passes only when everything in the newest set came back; whatever it finds is signed and kept."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from support.backup_site import CLUSTER_UUID, make_site
from support.drill_site import DrillSite

from keyfold.backup.cluster import ClusterState
from keyfold.backup.manifest import Manifest
from keyfold.drill import canary
from keyfold.drill.evidence import Evidence, verify
from keyfold.drill.run import RECORD_KIND
from keyfold.errors import KeyfoldError
from keyfold.remote import errors
from keyfold.remote.memory import Fault

pytestmark = pytest.mark.exhaustive


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> DrillSite:
    """acme and the canary, and a set that has both."""
    made = DrillSite(make_site(tmp_path, monkeypatch))
    made.provision()
    made.site.agent.add_partition("acme")
    made.site.agent.add_key("acme", 1, "signer", 3)
    made.site.agent.add_key("acme", 2, "signer", 2)
    made.canary().prepare()
    return made


def proven(here: DrillSite, document: bytes) -> Evidence:
    known = {name: row["public_key"] for name, row in here.site.agent.records[canary.RECORD_KIND].items()}
    return verify(document, ClusterState(here.site.agent).identity().signer, known)


def archive(manifest: Manifest, partition: str) -> str:
    entry = manifest.partition(partition)
    assert entry is not None
    return f"{CLUSTER_UUID}/{manifest.set_id}/{entry.archive}"


def test_a_good_set_passes_and_the_evidence_is_signed_and_kept_twice(here: DrillSite) -> None:
    made = here.site.run()
    before = dict(here.site.store.files())
    found = here.drill().run()
    assert found.passed
    assert (found.set_id, found.sequence, found.node) == (made.set_id, made.sequence, "hsm3")
    assert [(one.name, one.objects, one.problem) for one in found.partitions] == [
        ("acme", 3, ""),
        (canary.PARTITION, 1, ""),
        ("_cluster", 3, ""),
    ]
    record = here.site.agent.records[RECORD_KIND][found.drill_id]
    assert (record["passed"], record["set_id"]) == (True, made.set_id)
    file = here.site.config.state / "drills" / f"{found.drill_id}.jsonl"
    assert file.read_text() == record["document"]
    assert proven(here, file.read_bytes()) == found
    assert here.site.store.files() == before


def test_nothing_is_left_of_the_scratch_tokens(here: DrillSite) -> None:
    here.site.run()
    (here.site.spool / "drill-killed" / "acme").mkdir(parents=True)
    here.drill().run()
    assert len(here.hsm.seen) == 2
    assert sorted(path.name for path in here.site.spool.iterdir()) == ["backup.lock"]
    assert here.site.agent.jobs == {}


def altered(here: DrillSite, made: Manifest) -> None:
    here.site.store.alter(archive(made, "acme"), lambda content: content[:-1] + bytes([content[-1] ^ 1]))


def cut_short(here: DrillSite, made: Manifest) -> None:
    here.site.store.alter(archive(made, "acme"), lambda content: content[:-1])


def lost(here: DrillSite, made: Manifest) -> None:
    here.site.store.lose(archive(made, "acme"))


def cluster_archive_altered(here: DrillSite, made: Manifest) -> None:
    (own,) = made.cluster
    place = f"{CLUSTER_UUID}/{made.set_id}/{own.archive}"
    here.site.store.alter(place, lambda content: content[:-1] + bytes([content[-1] ^ 1]))


def cluster_archive_of_another_set(here: DrillSite, made: Manifest) -> None:
    """As somebody with the signing key could name it: hash and size are right."""
    newer = here.site.run()
    (own,), (other,) = made.cluster, newer.cluster
    old = here.site.store.files()[f"{CLUSTER_UUID}/{made.set_id}/{own.archive}"]
    here.site.store.alter(f"{CLUSTER_UUID}/{newer.set_id}/{other.archive}", lambda _: old)
    entry = replace(other, size_bytes=own.size_bytes, ciphertext_sha256=own.ciphertext_sha256)
    here.site.resign(newer, cluster=(entry,))


def manifest_lost(here: DrillSite, made: Manifest) -> None:
    here.site.store.lose(f"{CLUSTER_UUID}/{made.set_id}/manifest.jsonl")


def store_down(here: DrillSite, made: Manifest) -> None:
    here.site.store.fail_next("list", Fault(errors.failed("HTTP 500")))


def object_vanishes(here: DrillSite, made: Manifest) -> None:
    here.hsm.after_look = lambda home: next((home / "tokens").glob("*/0*.object"), home / "none").unlink(True)


def object_rewritten(here: DrillSite, made: Manifest) -> None:
    def spoil(home: Path) -> None:
        for file in (home / "tokens").glob("*/0*.object"):
            file.write_bytes(file.read_bytes()[:-1] + b"?")

    here.hsm.after_look = spoil


def no_pin(here: DrillSite, made: Manifest) -> None:
    here.hsm.user_pin_set = False


def other_pin(here: DrillSite, made: Manifest) -> None:
    here.hsm.pin = "another"


def other_key(here: DrillSite, made: Manifest) -> None:
    from cryptography.hazmat.primitives.asymmetric import ec

    here.hsm.key = ec.generate_private_key(ec.SECP256R1())


def no_record(here: DrillSite, made: Manifest) -> None:
    here.site.agent.records[canary.RECORD_KIND].clear()


@pytest.mark.parametrize(
    ("harm", "said"),
    [
        (altered, "was altered"),
        (cut_short, "cut short"),
        (lost, "the store has no"),
        (cluster_archive_altered, "the archive of _cluster was altered"),
        (cluster_archive_of_another_set, "the cluster's archive was swapped"),
        (manifest_lost, "not in the store any more"),
        (store_down, "HTTP 500"),
        (object_vanishes, "not those of the archive"),
        (object_rewritten, "not those of the archive"),
        (no_pin, "SoftHSM sees"),
        (other_pin, "refuses the PIN"),
        (other_key, "does not verify"),
        (no_record, "no record of this canary"),
    ],
    ids=lambda value: getattr(value, "__name__", ""),
)
def test_whatever_is_wrong_fails_the_drill_by_name_and_the_evidence_says_so(
    here: DrillSite, harm: Callable[[DrillSite, Manifest], None], said: str
) -> None:
    harm(here, here.site.run())
    found = here.drill().run()
    assert not found.passed
    problems = [found.problem, *(one.problem for one in found.partitions)]
    assert any(said in problem for problem in problems), problems
    record = here.site.agent.records[RECORD_KIND][found.drill_id]
    assert record["passed"] is False
    if harm is not no_record:
        assert not proven(here, record["document"].encode()).passed


def test_one_bad_partition_does_not_keep_the_others_from_being_tried(here: DrillSite) -> None:
    altered(here, here.site.run())
    found = here.drill().run()
    assert [(one.name, bool(one.problem)) for one in found.partitions] == [
        ("acme", True),
        (canary.PARTITION, False),
        ("_cluster", False),
    ]
    assert found.canary is not None


def test_a_set_without_the_canary_does_not_pass(here: DrillSite) -> None:
    here.site.run("acme")
    found = here.drill().run()
    assert "has no canary" in found.problem
    assert not found.passed


def test_a_second_drill_is_told_who_is_at_it(here: DrillSite) -> None:
    here.site.run()
    here.site.agent.jobs["drill"] = {}
    with pytest.raises(KeyfoldError, match="under way"):
        here.drill().run()
    assert RECORD_KIND not in here.site.agent.records


def test_without_the_agent_no_drill_took_place(here: DrillSite) -> None:
    here.site.run()

    def down() -> None:
        raise KeyfoldError("agent_down", "no answer", not_done="-", next_step="-")

    here.site.agent.before["record_list"] = down
    with pytest.raises(KeyfoldError, match="no answer"):
        here.drill().run()
    assert RECORD_KIND not in here.site.agent.records


def test_evidence_that_was_touched_anywhere_is_refused(here: DrillSite) -> None:
    here.site.run()
    found = here.drill().run()
    document = here.site.agent.records[RECORD_KIND][found.drill_id]["document"].encode()
    for at in range(len(document)):
        with pytest.raises(KeyfoldError) as caught:
            proven(here, document[:at] + bytes([document[at] ^ 1]) + document[at + 1 :])
        assert caught.value.code == "refused"
    for length in range(len(document)):
        with pytest.raises(KeyfoldError):
            proven(here, document[:length])
    assert proven(here, document).passed


def test_evidence_of_another_cluster_and_of_an_unknown_canary_is_refused(here: DrillSite) -> None:
    here.site.run()
    found = here.drill().run()
    document = here.site.agent.records[RECORD_KIND][found.drill_id]["document"].encode()
    signer = ClusterState(here.site.agent).identity().signer
    with pytest.raises(KeyfoldError, match="not that of this cluster's canary"):
        verify(document, signer, {})
    with pytest.raises(KeyfoldError, match="another cluster"):
        verify(document, type(signer)("0" * 36, signer.signing_public_key), {})


def test_a_signed_claim_that_passed_without_a_canary_is_no_pass(here: DrillSite) -> None:
    here.site.run("acme")
    found = here.drill().run()
    record = here.site.agent.records[RECORD_KIND][found.drill_id]
    assert json.loads(record["document"].splitlines()[0])["canary"] is None
    assert not proven(here, record["document"].encode()).passed
