from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import pytest

from keyfold.backup import manifest
from keyfold.backup.manifest import Cluster, Manifest
from keyfold.backup.sets import LATEST, choose, judge
from keyfold.custody.memory_keys import MemorySystemKeys
from keyfold.errors import KeyfoldError

UUID = "11111111-2222-4333-8444-555555555555"
KEYS = MemorySystemKeys(bytes(range(32)), UUID)
CLUSTER = Cluster(UUID, KEYS.signing_public_key())


def document(sequence: int, previous: str, set_id: str, retention_class: str = "daily") -> bytes:
    made = Manifest(1, UUID, "b", "s", set_id, sequence, previous, "t", retention_class, 1, "hsm3", (), ())
    return manifest.signed(made, KEYS.sign)


def chain(length: int, start: int = 1) -> dict[str, bytes]:
    documents: dict[str, bytes] = {}
    previous = ""
    for sequence in range(start, start + length):
        set_id = f"set-{sequence}"
        documents[set_id] = document(sequence, previous, set_id)
        previous = manifest.sha256(documents[set_id])
    return documents


def recorded(documents: Mapping[str, bytes]) -> dict[str, dict[str, Any]]:
    return {
        set_id: {"sequence": int(set_id[4:]), "manifest_sha256": manifest.sha256(content)}
        for set_id, content in documents.items()
    }


def problems(documents: dict[str, bytes], records: dict[str, dict[str, Any]] | None = None) -> dict[str, str]:
    return {one.set_id: one.problem for one in judge(documents, CLUSTER, records or {}) if one.problem}


def test_a_whole_chain_is_good_and_newest_first() -> None:
    found = judge(chain(3), CLUSTER, recorded(chain(3)))
    assert [(one.set_id, one.problem) for one in found] == [("set-3", ""), ("set-2", ""), ("set-1", "")]


def test_sets_that_expired_at_the_old_end_are_no_problem() -> None:
    documents = chain(4)
    del documents["set-1"], documents["set-2"]
    assert problems(documents, recorded(chain(4))) == {}


def test_a_set_missing_in_the_middle_is_named() -> None:
    documents = chain(4)
    del documents["set-3"]
    assert problems(documents) == {"set-4": "the set with the number 3 is missing between two others"}


def test_a_broken_chain_is_named() -> None:
    documents = chain(2) | {"set-3": document(3, "00" * 32, "set-3")}
    assert list(problems(documents)) == ["set-3"]
    assert "chain" in problems(documents)["set-3"]


def test_two_sets_with_one_number_are_both_named() -> None:
    documents = chain(2) | {"set-x": document(2, manifest.sha256(chain(1)["set-1"]), "set-x")}
    assert sorted(problems(documents)) == ["set-2", "set-x"]


def test_an_unbelievable_manifest_does_not_spoil_the_others() -> None:
    documents = chain(3) | {"set-2": b"garbage"}
    found = {one.set_id: one for one in judge(documents, CLUSTER, {})}
    assert found["set-2"].manifest is None
    assert found["set-1"].problem == ""
    assert found["set-3"].manifest is not None


def test_a_replayed_manifest_under_another_id_is_a_swap() -> None:
    documents = chain(1)
    assert "swapped" in problems(documents | {"set-2": documents["set-1"]})["set-2"]


def test_a_set_other_than_recorded_is_not_believed() -> None:
    records = recorded(chain(1)) | {"set-2": {"sequence": 2, "manifest_sha256": "00" * 32}}
    assert "recorded" in problems(chain(2), records)["set-2"]


def chosen(documents: dict[str, bytes], wanted: str, records: dict[str, dict[str, Any]]) -> str:
    return choose(judge(documents, CLUSTER, records), wanted, records)[1].set_id


def refusal(documents: dict[str, bytes], wanted: str, records: dict[str, dict[str, Any]], code: str) -> str:
    with pytest.raises(KeyfoldError) as caught:
        chosen(documents, wanted, records)
    assert caught.value.code == code
    return caught.value.what


def test_latest_is_the_highest_number_and_an_id_is_itself() -> None:
    assert chosen(chain(3), LATEST, {}) == "set-3"
    assert chosen(chain(3), "set-1", recorded(chain(3))) == "set-1"


def test_latest_is_never_a_restores_safety_set_whether_it_is_good_or_spoiled() -> None:
    documents = chain(2)
    safety = document(3, manifest.sha256(documents["set-2"]), "set-3", "safety")
    records = recorded({**documents, "set-3": safety})
    records["set-3"]["retention_class"] = "safety"
    assert chosen({**documents, "set-3": safety}, LATEST, {}) == "set-2"
    for content in (safety, safety[:-3]):
        assert chosen({**documents, "set-3": content}, LATEST, records) == "set-2"
    assert chosen(documents, LATEST, records) == "set-2"
    assert chosen({**documents, "set-3": safety}, "set-3", records) == "set-3"


def test_latest_is_refused_when_the_recorded_newest_is_gone_or_spoiled() -> None:
    documents, records = chain(3), recorded(chain(3))
    without = {set_id: content for set_id, content in documents.items() if set_id != "set-3"}
    assert "set-3" in refusal(without, LATEST, records, "refused")
    assert "not signed" in refusal(documents | {"set-3": b"x"}, LATEST, records, "refused")
    assert "set-3" in refusal({}, LATEST, records, "refused")
    assert chosen(without, "set-2", records) == "set-2"


def test_latest_ignores_damage_to_a_set_known_to_be_older() -> None:
    documents, records = chain(3), recorded(chain(3))
    assert chosen(documents | {"set-1": b"x"}, LATEST, records) == "set-3"
    assert "may be the newest" in refusal(documents | {"set-1": b"x"}, LATEST, {}, "refused")


def test_a_damaged_set_is_refused_by_name() -> None:
    assert "set-2" in refusal(chain(2) | {"set-2": b"x"}, "set-2", {}, "refused")


def test_an_unknown_set_is_not_found_and_says_what_there_is() -> None:
    assert "set-1" in refusal(chain(1), "set-9", {}, "not_found")
    assert "no backup set" in refusal({}, LATEST, {}, "not_found")
