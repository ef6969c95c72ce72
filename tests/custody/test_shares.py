"""Splitting the root, and what custodians hand in: good, too few, mistyped, foreign, twice."""

from __future__ import annotations

import itertools
import re

import pytest
from shamir_mnemonic.wordlist import WORDLIST

from keyfold.custody import derive
from keyfold_shares import (
    Entered,
    Expected,
    ShareError,
    expected,
    recover,
    root_fingerprint,
    split,
    words_of,
)
from keyfold_sheet import sheet

ROOT = bytes(range(32))
UUID = "11111111-2222-4333-8444-555555555555"
OTHER = "5f0c0b34-6f8f-4f0a-9d6b-6f1b7a3f9d11"
NAMES = ("alice", "bob", "carol", "dave", "erin")


def custody(identifier: int, root: bytes = ROOT, uuid: str = UUID) -> dict[str, object]:
    return {
        "identifier": identifier,
        "threshold": 3,
        "shares": 5,
        "root_fingerprint": root_fingerprint(root, uuid),
        "custodians": [{"number": number, "name": name} for number, name in enumerate(NAMES, 1)],
        "created": "2026-11-25T20:00:00.000000Z",
    }


IDENTIFIER, WORDS = split(ROOT, 3, 5)
RECORD = custody(IDENTIFIER)
WANTED = expected(UUID, RECORD)
SHEETS = [sheet(RECORD, "north", UUID, number, words) for number, words in enumerate(WORDS, 1)]


def refused(*entered: Entered, wanted: Expected = WANTED) -> tuple[str, ...]:
    with pytest.raises(ShareError) as caught:
        recover(entered, wanted)
    assert not any(word in str(caught.value).split() for one in entered for word in words_of(one)[4:] if len(word) > 7)
    return caught.value.problems


def good(*numbers: int) -> list[Entered]:
    return [Entered(NAMES[number - 1], SHEETS[number - 1]) for number in numbers]


def test_controller_and_node_agree_on_the_fingerprint() -> None:
    golden = "1fb99124cac14e16b188605f974af45e"
    assert root_fingerprint(ROOT, UUID) == derive.root_fingerprint(ROOT, UUID)
    assert root_fingerprint(ROOT, UUID)[:32] == golden


@pytest.mark.parametrize("numbers", list(itertools.combinations(range(1, 6), 3)))
def test_any_three_sheets_of_five_give_the_root_back(numbers: tuple[int, ...]) -> None:
    assert recover(good(*numbers), WANTED) == ROOT


def test_words_alone_do_in_any_case_and_line_breaks() -> None:
    typed = [Entered(str(number), WORDS[number].upper().replace(" ", "\n", 7)) for number in (4, 0, 2)]
    assert recover(typed, WANTED) == ROOT


def test_a_printed_sheet_that_is_typed_in_again_gives_its_words() -> None:
    for page, words in zip(SHEETS, WORDS, strict=True):
        lines = [line for line in page.splitlines() if re.match(r"\s+\d+\. ", line)]
        assert len(lines) == 11
        typed = {int(number): word for line in lines for number, word in re.findall(r"(\d+)\. (\w+)", line)}
        assert " ".join(typed[number] for number in range(1, 34)) == words
        assert len(page.splitlines()) <= 60
        assert max(map(len, page.splitlines())) <= 72
        for told in ("north", UUID, "any 3 of the 5", str(IDENTIFIER), " ".join(_groups(WANTED.root_fingerprint))):
            assert told in page


def _groups(fingerprint: str) -> list[str]:
    return [fingerprint[at : at + 4] for at in range(0, 32, 4)]


def test_more_than_enough_shares_are_fine() -> None:
    assert recover(good(1, 2, 3, 4, 5), WANTED) == ROOT


def test_too_few_are_counted() -> None:
    assert refused(*good(1, 2)) == ("too few shares: 2 good ones of the 3 that are needed",)
    assert refused() == ("too few shares: 0 good ones of the 3 that are needed",)


def test_every_substituted_word_is_noticed() -> None:
    for at in range(33):
        words = WORDS[1].split()
        words[at] = WORDLIST[(WORDLIST.index(words[at]) + 1) % len(WORDLIST)]
        problems = refused(*good(1, 3), Entered("bob.txt", " ".join(words)))
        assert problems[0].startswith("bob.txt is mistyped: its checksum is wrong")


def test_a_word_that_is_none_is_named_by_its_place() -> None:
    words = WORDS[1].split()
    words[6], words[20] = "keyfold", "xylophonist"
    problems = refused(*good(1, 3), Entered("bob.txt", " ".join(words)))
    assert problems[0] == "bob.txt is mistyped: not a word that shares are made of, at number 7, 21"


def test_missing_words_are_counted() -> None:
    problems = refused(*good(1, 3), Entered("bob.txt", " ".join(WORDS[1].split()[:-1])))
    assert problems[0] == "bob.txt is mistyped: it has 32 words, a share has 33"


def test_a_share_given_twice_is_named_with_its_custodian() -> None:
    problems = refused(*good(1, 2), Entered("again", WORDS[0]))
    assert problems[0] == "again (share 1, alice's) is given twice: it is also alice"


def test_another_clusters_sheet_is_named_with_its_cluster_and_bare_words_as_foreign() -> None:
    identifier, strangers = split(bytes(32), 3, 5)
    page = sheet(custody(identifier, bytes(32), OTHER), "south", OTHER, 4, strangers[3])
    problems = refused(*good(1, 2), Entered("dave", page), Entered("typed", strangers[4]))
    assert problems[0] == f"dave is foreign: it is a share of cluster south ({OTHER})"
    assert problems[1].startswith("typed is foreign: it is a share of another root")


def test_all_problems_are_told_at_once() -> None:
    problems = refused(Entered("a", "nothing"), Entered("b", ""), *good(5))
    assert [problem.split()[0] for problem in problems] == ["a", "b", "too"]


def test_shares_of_another_root_with_the_same_identifier_do_not_pass() -> None:
    lying = expected(UUID, custody(IDENTIFIER, bytes(32)))
    assert refused(*good(1, 2, 3), wanted=lying)[0].endswith(f"do not make up the root of cluster {UUID}")


@pytest.mark.parametrize(("threshold", "shares"), [(1, 5), (6, 5), (2, 17), (0, 0)])
def test_what_cannot_be_split_is_refused(threshold: int, shares: int) -> None:
    with pytest.raises(ValueError, match="shares cannot be made"):
        split(ROOT, threshold, shares)
