"""From observations to a verdict: the table is whole, the worst finding decides, and a refusal is heeded."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.webdav_servers import SERVERS

from keyfold.errors import KeyfoldError
from keyfold.remote.check.fitness import record, record_id, require_fit
from keyfold.remote.check.grade import ADAPT, GOOD, REFUSE, TABLE, Observation, grade

BEST = {
    "tls_version": "TLSv1.3",
    "client_certificate": "demanded",
    "clock": "agrees",
    "make_collection": "made",
    "read_after_write": "same",
    "content_length": "honoured",
    "listing": "true",
    "receive_time": "its_own",
    "aborted_put_new": "nothing",
    "plain_put_over": "refused",
    "aborted_put_over": "impossible",
    "no_clobber": "refused",
    "no_clobber_race": "one",
    "move_no_overwrite": "denied",
    "mkcol_race": "one",
    "content_range_put": "refused",
    "range_get": "part",
    "chunked_put": "refused",
    "quota": "told",
    "delete": "refused",
}


def seen(**outcomes: str) -> list[Observation]:
    return [Observation(probe, outcome) for probe, outcome in {**BEST, **outcomes}.items()]


def test_the_best_server_is_good_and_write_once() -> None:
    graded = grade(seen())
    assert (graded.verdict, graded.write_once, graded.adaptations) == (GOOD, True, [])


@pytest.mark.parametrize(
    ("probe", "outcome"), [(probe, outcome) for probe, outcomes in TABLE.items() for outcome in outcomes]
)
def test_one_outcome_decides_the_verdict_that_the_table_gives_it(probe: str, outcome: str) -> None:
    assert grade(seen(**{probe: outcome})).verdict == TABLE[probe][outcome][2]


def test_the_worst_finding_decides() -> None:
    assert grade(seen(no_clobber="overwrites", read_after_write="different")).verdict == REFUSE


@pytest.mark.parametrize(
    ("probe", "outcome"),
    [
        ("plain_put_over", "overwrites"),
        ("no_clobber", "overwrites"),
        ("delete", "allowed"),
        ("move_no_overwrite", "overwrites"),
    ],
)
def test_what_lets_the_writer_destroy_is_not_write_once(probe: str, outcome: str) -> None:
    graded = grade(seen(**{probe: outcome}))
    assert (graded.verdict, graded.write_once) == (ADAPT, False)


def test_an_adaptation_says_what_keyfold_does_about_it() -> None:
    assert "random name of its own" in grade(seen(no_clobber="overwrites")).adaptations[0]
    assert "uploaded last" in grade(seen(aborted_put_new="partial")).adaptations[0]
    assert "destroy backups" in grade(seen(plain_put_over="overwrites")).adaptations[0]


@pytest.mark.parametrize("probe", TABLE)
def test_a_probe_that_was_not_reached_is_a_refusal(probe: str) -> None:
    graded = grade([one for one in seen() if one.probe != probe])
    assert graded.verdict == REFUSE
    assert graded.write_once is (probe not in ("plain_put_over", "no_clobber", "delete"))


def test_a_store_that_was_refused_is_not_used_until_a_check_says_otherwise() -> None:
    url = "https://store1/keyfold/"
    bad, good = grade(seen(read_after_write="different")), grade(seen())
    records = {record_id(url): record(url, "2026-11-25T00:00:00Z", bad)}
    with pytest.raises(KeyfoldError, match="loses or alters data") as caught:
        require_fit(records, url)
    assert (caught.value.code, caught.value.exit_code) == ("unfit", 22)
    require_fit(records, "https://another/")
    require_fit({}, url)
    require_fit({record_id(url): record(url, "2026-11-26T00:00:00Z", good)}, url)


def test_the_page_about_stores_says_what_the_five_servers_were_seen_to_do() -> None:
    """docs/store.md, its table: kept equal to what the contract suite demands of the real servers."""
    page = (Path(__file__).resolve().parents[4] / "docs/store.md").read_text()
    assert table() in page, f"put this into docs/store.md:\n{table()}"


def table() -> str:
    """One row per probe: the outcomes of each server, and the verdict on them."""
    heads = ["probe", *(server.title for server in SERVERS.values())]
    rows = [heads, ["---"] * len(heads)]
    rows += [[f"`{probe}`", *(_cell(probe, one.expected[probe]) for one in SERVERS.values())] for probe in TABLE]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _cell(probe: str, outcomes: tuple[str, ...]) -> str:
    worst = max((TABLE[probe][outcome][2] for outcome in outcomes), key=[GOOD, ADAPT, REFUSE].index)
    said = " or ".join(outcome.replace("_", " ") for outcome in outcomes)
    return said if worst == GOOD else f"**{said}** ({worst})"
