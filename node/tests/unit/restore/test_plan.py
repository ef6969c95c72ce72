from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.backup.cluster import LiveObject, Partition
from keyfold.errors import KeyfoldError
from keyfold.restore.plan import Action, check_same_token, plan
from keyfold.restore.select import CLASSES, IndexedObject, Selection, select

FILES = ["token.object", *(f"{number:08x}-0000-4000-8000-000000000000.object" for number in range(6))]
LABELS = [None, b"a".hex(), b"b".hex()]


@st.composite
def archives(draw: st.DrawFn) -> list[IndexedObject]:
    files = draw(st.lists(st.sampled_from(FILES[1:]), unique=True))
    items = [
        IndexedObject(
            file,
            draw(st.sampled_from(sorted(CLASSES.values()))),
            draw(st.sampled_from(LABELS)),
            draw(st.sampled_from([None, "01", "02"])),
            1,
            draw(st.sampled_from(["x", "y"])),
        )
        for file in sorted(files)
    ]
    return [*items, IndexedObject("token.object", None, None, None, 1, "x")]


lives = st.dictionaries(st.sampled_from(FILES), st.sampled_from(["x", "y"])).map(
    lambda digests: {file: LiveObject(file, digest, 1) for file, digest in digests.items()}
)


@given(archives(), lives, st.sets(st.sampled_from(FILES)))
def test_merge_never_removes_and_never_changes(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str]
) -> None:
    made = plan(archived, Selection(), live, invalidated)
    after = {file: one.digest for file, one in live.items()} | {file: item.digest for file, item in made.writes.items()}
    for file, one in live.items():
        assert after[file] == one.digest
    for item in archived:
        assert item.file in after


@given(archives(), lives, st.sets(st.sampled_from(FILES)))
def test_applying_a_plan_leaves_nothing_to_do(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str]
) -> None:
    made = plan(archived, Selection(), live, invalidated)
    after = live | {file: LiveObject(file, item.digest, 2) for file, item in made.writes.items()}
    assert plan(archived, Selection(), after, invalidated - set(made.writes)).writes == {}


@given(archives(), lives, st.sets(st.sampled_from(FILES)))
def test_every_object_has_one_step_with_its_reason(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str]
) -> None:
    made = plan(archived, Selection(), live, invalidated)
    assert [step.object for step in made.steps] == archived
    for step in made.steps:
        file = step.object.file
        if file in live:
            same = live[file].digest == step.object.digest
            assert step.action is (Action.UNTOUCHED if same else Action.CHANGED)
        else:
            assert step.action is (Action.REACTIVATE if file in invalidated else Action.ADD)
    assert sum(made.counts.values()) == len(archived)


@given(archives())
def test_a_partition_that_is_gone_gets_its_token_whatever_was_selected(archived: list[IndexedObject]) -> None:
    for selection in (Selection(), Selection(labels=("a",))):
        try:
            made = plan(archived, selection, None, ())
        except KeyfoldError:
            continue
        assert made.create
        assert "token.object" in made.writes


def key(number: int, kind: str, label: str, key_id: str) -> IndexedObject:
    return IndexedObject(FILES[1 + number], CLASSES[kind], label.encode().hex(), key_id, 1, "x")


PAIR = [
    key(0, "private", "ca", "0a"),
    key(1, "public", "ca", "0a"),
    key(2, "secret", "käse", "0b"),
    IndexedObject("token.object", None, None, None, 1, "x"),
]


@pytest.mark.parametrize(
    ("selection", "chosen"),
    [
        (Selection(), [0, 1, 2, 3]),
        (Selection(labels=("ca",)), [0, 1]),
        (Selection(labels=("ca",), classes=("private",)), [0]),
        (Selection(labels=("käse",)), [2]),
        (Selection(ids=("0A",)), [0, 1]),
        (Selection(labels=("käse",), ids=("0a",)), [0, 1, 2]),
        (Selection(classes=("secret", "public")), [1, 2]),
    ],
)
def test_a_selection_means_exactly_these(selection: Selection, chosen: list[int]) -> None:
    assert select(PAIR, selection) == [PAIR[index] for index in chosen]


@pytest.mark.parametrize(
    ("selection", "named"),
    [
        (Selection(labels=("ca", "gone", "lost")), ["'gone'", "'lost'"]),
        (Selection(ids=("ff",)), ["ID ff"]),
        (Selection(labels=("ca",), classes=("secret",)), ["'ca'", "secret"]),
        (Selection(classes=("certificate",)), ["certificate"]),
    ],
)
def test_what_matches_nothing_is_named(selection: Selection, named: list[str]) -> None:
    with pytest.raises(KeyfoldError) as caught:
        select(PAIR, selection)
    assert caught.value.code == "not_found"
    for words in named:
        assert words in caught.value.what


@pytest.mark.parametrize("field", ["uuid", "token_uuid"])
def test_another_token_under_the_same_name_is_refused(field: str) -> None:
    row = {"name": "acme", "uuid": "u", "token_uuid": "t"}
    live = Partition("acme", "u", "t", "ECO", True, 1, 1, row)
    check_same_token(live, row)
    with pytest.raises(KeyfoldError) as caught:
        check_same_token(live, row | {field: "other"})
    assert caught.value.code == "refused"
