"""Who opted out of key invalidation, and when."""

from __future__ import annotations

from typing import Any

from keyfold.partition.opt_out import FIELD, opting


def row(*, kept: bool, **more: Any) -> dict[str, Any]:
    return {"policy": {"key_invalidation": kept}, **more}


def test_an_opt_out_is_on_the_row_with_who_and_when_and_in_the_audit() -> None:
    after, what = opting(row(kept=True), row(kept=False), "administrator", "now")
    assert after[FIELD] == {"who": "administrator", "when": "now"}
    assert what == "opt out of key invalidation"


def test_a_new_partition_may_be_opted_out_from_the_start() -> None:
    assert opting({}, row(kept=False), "administrator", "now")[0][FIELD]["when"] == "now"
    assert opting({}, row(kept=True), "administrator", "now") == (row(kept=True), "")


def test_other_changes_keep_the_first_opt_out() -> None:
    before = row(kept=False, **{FIELD: {"who": "subscriber", "when": "then"}})
    assert opting(row(kept=False), before, "administrator", "now") == (before, "")


def test_opting_in_again_takes_it_off_and_is_recorded() -> None:
    before = row(kept=True, **{FIELD: {"who": "subscriber", "when": "then"}})
    assert opting(row(kept=False), before, "administrator", "now") == (row(kept=True), "opt in to key invalidation")
