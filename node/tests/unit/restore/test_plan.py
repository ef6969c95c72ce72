from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from keyfold.backup.cluster import LiveObject, Partition
from keyfold.errors import KeyfoldError
from keyfold.restore.order import Order
from keyfold.restore.plan import Action, State, check_same_token, plan
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


orders = st.builds(
    Order, st.just("acme"), st.just("s"), mode=st.sampled_from(["merge", "replace"]), restore_pin=st.booleans()
)
ORDER = Order("acme", "s")


def state(live: dict[str, LiveObject], invalidated: set[str]) -> State:
    kept = {file: LiveObject(file, "z", 1, 1) for file in invalidated - set(live)}
    return State(live, kept)


@given(archives(), lives, st.sets(st.sampled_from(FILES)))
def test_merge_never_removes_and_never_changes(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str]
) -> None:
    made = plan("acme", archived, ORDER, state(live, invalidated))
    assert made.removes == ()
    assert not made.loses
    assert set(made.writes) == {item.file for item in archived} - set(live)


@given(archives(), lives, st.sets(st.sampled_from(FILES)), st.booleans())
def test_replace_ends_with_exactly_what_the_archive_has(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str], restore_pin: bool
) -> None:
    order = Order("acme", "s", mode="replace", restore_pin=restore_pin)
    made = plan("acme", archived, order, state(live, invalidated))
    after = {file: one.digest for file, one in live.items() if file not in made.removes}
    after |= {file: item.digest for file, item in made.writes.items()}
    wanted = {item.file: item.digest for item in archived}
    if "token.object" in live and not restore_pin:
        wanted["token.object"] = live["token.object"].digest
    assert after == wanted


@given(archives(), lives, st.sets(st.sampled_from(FILES)), orders)
def test_applying_a_plan_leaves_nothing_to_do(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str], order: Order
) -> None:
    made = plan("acme", archived, order, state(live, invalidated))
    after = {file: one for file, one in live.items() if file not in made.removes}
    after |= {file: LiveObject(file, item.digest, 2) for file, item in made.writes.items()}
    assert plan("acme", archived, order, state(after, invalidated | set(made.removes))).empty


@given(archives(), lives, st.sets(st.sampled_from(FILES)), orders)
def test_every_object_has_one_step_with_its_reason(
    archived: list[IndexedObject], live: dict[str, LiveObject], invalidated: set[str], order: Order
) -> None:
    made = plan("acme", archived, order, state(live, invalidated))
    assert [step.object for step in made.steps][: len(archived)] == archived
    assert {step.action for step in made.steps[len(archived) :]} <= {Action.REMOVE}
    for step in made.steps[: len(archived)]:
        file = step.object.file
        if file in live:
            same = live[file].digest == step.object.digest
            assert step.action in ((Action.UNTOUCHED,) if same else (Action.CHANGE, Action.DIFFERS))
        else:
            assert step.action is (Action.REACTIVATE if file in invalidated else Action.ADD)
    assert sum(made.counts.values()) == len(made.steps)


@given(archives())
def test_a_partition_that_is_gone_gets_its_token_whatever_was_selected(archived: list[IndexedObject]) -> None:
    for selection in (Selection(), Selection(labels=("a",))):
        try:
            made = plan("acme", archived, Order("acme", "s", selection=selection), None)
        except KeyfoldError:
            continue
        assert made.create
        assert "token.object" in made.writes


def test_what_a_restore_adds_to_the_quota_is_known_before() -> None:
    items = [IndexedObject(file, 4, None, None, 100, "x") for file in FILES[1:5]]
    live = {FILES[3]: LiveObject(FILES[3], "y", 1, 30), FILES[4]: LiveObject(FILES[4], "x", 1, 100)}
    now = State(live, {FILES[2]: LiveObject(FILES[2], "x", 1, 60)})
    assert plan("acme", items, Order("acme", "s", mode="replace"), now).growth == 100 + 40 + 70


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
